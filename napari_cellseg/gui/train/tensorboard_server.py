"""TensorBoard for a run folder, in its own process; only if that package is installed."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, QUrl
from qtpy.QtGui import QDesktopServices

from napari_cellseg.gui.state import AppState

__all__ = ["TensorBoardServer", "tensorboard_is_installed"]

_LOOK_MS = 300
"""Time between two checks for an answer of the server."""


def tensorboard_is_installed() -> bool:
    """Return whether TensorBoard is installed."""
    return importlib.util.find_spec("tensorboard") is not None


class TensorBoardServer(QObject):
    """Starts TensorBoard once, for all runs of a folder, and opens it in the browser; ends with the viewer."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._port = 0
        self._looking = QTimer(self)
        self._looking.setInterval(_LOOK_MS)
        self._looking.timeout.connect(self._open_when_ready)
        state.closed.connect(self.stop)

    def show(self, folder: Path) -> None:
        """Open the curves of the runs in a folder."""
        if self._process is not None and self._process.poll() is None and folder == self._folder:
            self._open()
            return
        self.stop()
        with socket.socket() as free:
            free.bind(("localhost", 0))
            self._port = free.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._folder = folder
        self._looking.start()

    def stop(self) -> None:
        """End the server."""
        self._looking.stop()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _open_when_ready(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._looking.stop()  # it could not start; the run folder still has the curves as images
            return
        with suppress(OSError), socket.create_connection(("localhost", self._port), timeout=0.05):
            self._looking.stop()
            self._open()

    def _open(self) -> None:
        QDesktopServices.openUrl(QUrl(f"http://localhost:{self._port}"))

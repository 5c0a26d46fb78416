"""TensorBoard on a run folder, in a process of its own; only where that package is installed."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, QUrl
from qtpy.QtGui import QDesktopServices

from napari_cellseg.gui.state import AppState

__all__ = ["TensorBoardServer", "tensorboard_is_installed"]

_STARTS_IN_MS = 4000


def tensorboard_is_installed() -> bool:
    """Whether there is anything to start."""
    return importlib.util.find_spec("tensorboard") is not None


class TensorBoardServer(QObject):
    """Starts TensorBoard once, for all runs of a folder, and opens it in the browser; ends with the viewer."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self.url = ""
        state.closed.connect(self.stop)

    def show(self, folder: Path) -> None:
        """Open the curves of the runs in a folder."""
        if self._process is not None and self._process.poll() is None and folder == self._folder:
            self._open()
            return
        self.stop()
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._folder, self.url = folder, f"http://localhost:{port}"
        QTimer.singleShot(_STARTS_IN_MS, self._open)

    def stop(self) -> None:
        """End the server."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _open(self) -> None:
        if self._process is not None:
            QDesktopServices.openUrl(QUrl(self.url))

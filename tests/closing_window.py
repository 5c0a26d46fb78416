"""A real viewer over a small folder, for the tests of closing: what is asked, and what is on disk afterwards.

A test file that imports `windows` and the other fixtures has them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions, look_at

IMAGE = "tissue_01"


def keep_apart(monkeypatch: pytest.MonkeyPatch, home: Path, *, napari_asks: bool = False) -> None:
    """Give a test a data folder of its own; napari asks at Ctrl+W as before or after "Do not ask in future"."""
    from napari.settings import get_settings

    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    monkeypatch.setattr(get_settings().application, "confirm_close_window", napari_asks)


def make_folder(tmp_path: Path) -> Path:
    """Write two images; the cells of the first one are proposals, saved."""
    write_training_folder(tmp_path, 2, (96, 96))
    folder = tmp_path / "train"
    with Sessions.of_folder(folder) as sessions:
        sessions.set_classes(TISSUE_CLASSES)
        session = sessions.open_session(IMAGE, (96, 96))
        session.set_status(tuple(session.cells), Status.PROPOSED)
        sessions.save(IMAGE)
    return folder


class Window:
    """A real viewer with the docks *Open* and *Review*."""

    def __init__(self, folder: Path) -> None:
        import napari

        from napari_cellseg.gui.plugin import plugin_of

        self.viewer = napari.Viewer(show=True)
        self.plugin = plugin_of(self.viewer)
        self.state = self.plugin.state
        _, self.open_dock = self.viewer.window.add_plugin_dock_widget("napari-cellseg", "Open")
        _, self.review_dock = self.viewer.window.add_plugin_dock_widget("napari-cellseg", "Review")
        self.qt_window = self.viewer.window._qt_window
        self.open(folder)

    def open(self, folder: Path) -> None:
        self.plugin.opener.open_path(folder)
        self.wait_until_open()

    def wait_until_open(self) -> None:
        opener = self.plugin.opener
        wait(lambda: not opener.job.is_busy and not self.state.loading and opener._wanted is None)
        assert self.state.session is not None
        self.plugin.layers.finish()

    def press(self, key: str) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.keyClick(self.viewer.window._qt_viewer.canvas.native, getattr(Qt.Key, f"Key_{key}"))
        wait_ms(20)

    def accept(self, cell_id: int) -> None:
        self.state.select((cell_id,))
        self.press("A")

    def status(self, cell_id: int) -> Status:
        return self.state.session.cells[cell_id].status

    def ask_to_close(self) -> None:
        """As Ctrl+W does."""
        self.qt_window.close(quit_app=False, confirm_need=True)
        wait_ms(50)

    @property
    def is_closed(self) -> bool:
        return self.state.is_closed

    def end(self) -> None:
        with suppress(RuntimeError):  # a window that the user closed is only hidden, and lives until the program ends
            self.viewer.close()
        self.plugin.close()


@contextmanager
def open_windows() -> Iterator[Callable[[Path], Window]]:
    """Yield what opens a window on a folder; all of them end with the block."""
    made: list[Window] = []

    def make(folder: Path) -> Window:
        made.append(Window(folder))
        return made[-1]

    yield make
    for window in made:
        window.end()
    made.clear()
    gc.collect()


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        QApplication.processEvents()
        time.sleep(0.002)


def wait_ms(milliseconds: int) -> None:
    end = time.monotonic() + milliseconds / 1000
    with suppress(AssertionError):
        wait(lambda: time.monotonic() >= end)


class Answers:
    """Clicks the buttons of the questions that come, by their texts; keeps what was asked."""

    def __init__(self, *buttons: str) -> None:
        from qtpy.QtCore import QTimer

        self.waiting, self.asked = [*buttons], []
        self._timer = QTimer()
        self._timer.timeout.connect(self._answer)
        self._timer.start(10)

    def _answer(self) -> None:
        from qtpy.QtWidgets import QApplication, QDialog, QLabel, QMessageBox, QPushButton

        box = QApplication.activeModalWidget()
        if not isinstance(box, QDialog) or not box.isVisible():
            return
        if isinstance(box, QMessageBox):
            self.asked.append(f"{box.text()}\n{box.informativeText()}")
        else:
            self.asked.append("\n".join(label.text() for label in box.findChildren(QLabel)))
        wanted = self.waiting.pop(0) if self.waiting else "Cancel"
        button = next(button for button in box.findChildren(QPushButton) if button.text().replace("&", "") == wanted)
        button.click()

    def stop(self) -> None:
        self._timer.stop()
        assert not self.waiting, f"was never asked for {self.waiting}"


def status_on_disk(folder: Path, cell_id: int) -> Status:
    annotations = look_at(folder).read(IMAGE)
    assert annotations is not None
    return next(cell.status for cell in annotations.cells if cell.cell_id == cell_id)


def endless() -> Iterator[None]:
    while True:
        time.sleep(0.005)
        yield None

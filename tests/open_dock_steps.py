"""What a user does in the dock *Open*, for its tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.utils.notifications import notification_manager

from napari_cellseg.gui import docks
from napari_cellseg.images.samples import write_training_folder


def finish(qtbot, dock):
    qtbot.waitUntil(lambda: not dock.opener.job.is_busy, timeout=60_000)


def open_path(qtbot, dock, path):
    dock.opener.open_path(Path(path))
    finish(qtbot, dock)


def show(qtbot, dock, image_id):
    dock.opener.show(image_id)
    finish(qtbot, dock)


def texts(dock):
    model = dock.images.model()
    return [[model.index(row, column).data() for column in range(3)] for row in range(model.rowCount())]


def opening_dock(open_dock: Any) -> Any:
    """Open the dock; make a fixture of it."""
    return open_dock(docks.Open)


def training_folder(tmp_path: Path) -> Path:
    """Return a folder of three annotated images; make a fixture of it."""
    write_training_folder(tmp_path, 3, (96, 96))
    return tmp_path / "train"


def errors_shown() -> Callable[[], list[str]]:
    """Return a function that returns what was notified since; make a fixture of it."""
    notification_manager.records.clear()
    return lambda: [str(record.message) for record in notification_manager.records]

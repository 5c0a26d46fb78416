"""What a user does in the dock *Open*, for its tests."""

from __future__ import annotations

from pathlib import Path


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

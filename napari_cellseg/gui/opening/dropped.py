"""`CanvasDrop`: opens a folder or slide that is dropped on the canvas; napari would load all of it as one layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QGuiApplication

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.state import AppState
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.slide_levels import is_large

__all__ = ["CanvasDrop", "dropped_path"]

_FOLDERS_OF_FORMATS = (".zarr",)
"""A folder that is one image; napari and other plugins open it, unless it is a slide."""
_SMALL_BYTES = 2**20
"""No slide is smaller, so that the header of most files is not read."""
_NAPARIS = Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.ShiftModifier
"""With these napari asks for a plugin, or opens a stack."""


class CanvasDrop(QObject):
    """Watches the canvas of a viewer as long as its parent lives; does nothing for a viewer without a window.

    Parameters
    ----------
    state : AppState
    parent : QObject
    take : callable
        Gets the folder or file.
    """

    def __init__(self, state: AppState, parent: QObject, take: Callable[[Path], None]) -> None:
        super().__init__(parent)
        self._take = take
        canvas: Any = getattr(state.window, "_qt_viewer", None)
        for part in (canvas, getattr(canvas, "_welcome_widget", None)):
            if part is not None:
                part.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: ARG002, D102
        if event.type() != QEvent.Type.Drop or QGuiApplication.keyboardModifiers() & _NAPARIS:
            return False
        path = dropped_path(event)
        if path is None or not (_is_folder(path) or _is_slide(path)):
            return False
        event.acceptProposedAction()
        self._take(path)
        return True


def dropped_path(event: Any) -> Path | None:
    """Return the one file or folder that is dragged; None for anything else."""
    urls = event.mimeData().urls()
    return Path(urls[0].toLocalFile()) if len(urls) == 1 and urls[0].isLocalFile() else None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() not in _FOLDERS_OF_FORMATS


def _is_slide(path: Path) -> bool:
    """Return whether an image is a slide, which napari would read as a whole."""
    try:
        may_be = path.is_dir() or path.stat().st_size > _SMALL_BYTES
        return may_be and is_large(path, ReadOptions())
    except (CellSegError, OSError):  # another kind of file
        return False

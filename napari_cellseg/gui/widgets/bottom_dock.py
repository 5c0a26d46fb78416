"""`BottomDock`: the base of *Gallery*, *Table* and *Models*: wide docks below the canvas."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.lifetime import delete_with_dock
from napari_cellseg.gui.widgets.tab_order import move_focus
from napari_cellseg.gui.widgets.workflow import dock_of, front_dock, name_dock, name_of

__all__ = ["BottomDock"]

_HEIGHT_PX = 270


class BottomDock(QWidget):
    """A dock that goes below the canvas when it is first shown; napari opens all plugin docks on the right.

    Parameters
    ----------
    state : AppState
        What all docks of a viewer share.
    """

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self.state = state
        self._is_placed = False
        # napari puts this dock in front of it; when this one moves away, Qt would show the last tab.
        self._before = None if state.window is None else front_dock(state.window)

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, D102 - Qt's name
        return move_focus(self, forward=next)

    def sizeHint(self) -> QSize:  # noqa: D102
        # napari puts it on the right at first; if it were wide there, the window would grow.
        return QSize(800 if self._is_placed else 300, _HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(300, 120)

    def showEvent(self, event: Any) -> None:  # noqa: D102
        super().showEvent(event)
        if not self._is_placed:
            self._is_placed = True
            delete_with_dock(self, self.state.docks)
            QTimer.singleShot(0, self._place)  # not now: napari is still putting it in its place

    def _place(self) -> None:
        dock, window = dock_of(self), self.state.window
        if dock is None or window is None or dock.isFloating():
            return
        name_dock(dock, name_of(dock))
        below = Qt.DockWidgetArea.BottomDockWidgetArea
        others = [
            other
            for other in window.findChildren(QDockWidget)
            if other is not dock and other.isVisible() and isinstance(_content(other), BottomDock)
        ]
        window.addDockWidget(below, dock)
        for other in others[:1]:
            window.tabifyDockWidget(other, dock)
        dock.show()
        dock.raise_()
        if self._before is not None:
            self._before.raise_()
            self._before = None
        window.resizeDocks([dock], [_HEIGHT_PX], Qt.Orientation.Vertical)


def _content(dock: QDockWidget) -> QWidget | None:
    found = dock.findChildren(BottomDock)
    return found[0] if found else None

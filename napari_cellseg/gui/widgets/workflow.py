"""The docks of the work, tabbed: the first dock opened brings the others."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from qtpy.QtCore import QPoint, QRect
from qtpy.QtWidgets import QDockWidget, QWidget

__all__ = ["bring_docks", "dock_of", "is_in_front", "show_dock"]

PLUGIN = "napari-cellseg"
WORKFLOW = ("Open", "Segment", "Review", "Train", "Export")
"""Docks on the right, in the order of the work."""


def dock_of(widget: QWidget) -> QDockWidget | None:
    """Return the dock that holds a widget; None without one."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def is_in_front(widget: QWidget) -> bool:
    """Return whether the user can see a widget: Qt calls docks behind other tabs visible, but off screen."""
    if not widget.isVisible():
        return False
    window = widget.window()
    # Not `visibleRegion`: it leaves out what opaque children cover, which may be all of a dock.
    return bool(window.rect().intersects(QRect(widget.mapTo(window, QPoint(0, 0)), widget.size())))


def bring_docks(viewer: Any, asked: QWidget) -> None:
    """Open the other docks of the workflow as tabs next to ``asked``, which stays in front.

    Does nothing when ``asked`` is not in a dock of the viewer.
    """
    asked_dock = dock_of(asked)
    if asked_dock is None:
        return
    docks = [dock for name in WORKFLOW if (dock := _open(viewer, name)) is not None]
    for before, dock in pairwise(docks):
        viewer.window._qt_window.tabifyDockWidget(before, dock)
    asked_dock.raise_()


def show_dock(viewer: Any, name: str) -> QWidget | None:
    """Open a dock of the plugin, or bring it to the front; None where the viewer has no window."""
    window: Any = getattr(viewer, "window", None)
    if window is None or (dock := _open(viewer, name)) is None:
        return None
    dock.show()
    dock.raise_()
    return dock.widget()


def _open(viewer: Any, name: str) -> QDockWidget | None:
    from npe2 import PluginManager

    widgets = PluginManager.instance().get_manifest(PLUGIN).contributions.widgets or []
    if name not in [widget.display_name for widget in widgets]:
        return None
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    dock = dock_of(widget)
    if dock is not None:
        dock.setWindowTitle(name)  # the tab; with the plugin's name, five do not fit
    return dock

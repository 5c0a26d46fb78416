"""The docks of the work: tabs on the right, numbered in its order. The first dock opened brings the others."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabBar, QTabWidget, QWidget

__all__ = [
    "DOCK_WIDTH_PX",
    "NARROW_PX",
    "bring_docks",
    "dock_of",
    "front_dock",
    "is_in_front",
    "name_dock",
    "name_of",
    "show_dock",
]

PLUGIN = "napari-cellseg"
WORKFLOW = ("Open", "Segment", "Review", "Train", "Export")
"""Docks on the right, in the order of the work."""
NARROW_PX = 300
"""The width to which a dock can be narrowed; nothing in it is cut off then."""
DOCK_WIDTH_PX, _SMALL_WIDTH_PX = 380, 320
_SMALL_SCREEN_PX = (1100, 640)
"""A screen of less is small, for example 1366 x 768 at 150 %: 911 x 512 logical pixels."""
_TABS_STYLE = "QTabBar::tab { padding: 4px 1px; min-width: 0px; }"


def name_dock(dock: QDockWidget, name: str) -> None:
    """Show the name of a dock without that of the plugin, on its tab with its number in the order of the work."""
    dock.setWindowTitle(f"{WORKFLOW.index(name) + 1} {name}" if name in WORKFLOW else name)
    if dock.property("named"):
        return
    dock.setProperty("named", True)
    # napari makes another title bar when a dock is moved or floats; its slot is connected before this one.
    for signal in (dock.dockLocationChanged, dock.topLevelChanged):
        signal.connect(lambda _: _show_title(dock, name))
    _show_title(dock, name)


def name_of(dock: QDockWidget) -> str:
    """Return the name of a dock of the plugin, from its title."""
    return str(dock.windowTitle()).partition(" (")[0].lstrip("0123456789 ")


def _show_title(dock: QDockWidget, name: str) -> None:
    label = getattr(dock.titleBarWidget(), "title", None)
    if label is not None:
        label.setText(name)


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


def front_dock(window: QMainWindow) -> QDockWidget | None:
    """Return the dock of the workflow whose tab is in front."""
    docks = [dock for dock in window.findChildren(QDockWidget) if name_of(dock) in WORKFLOW]
    return next((dock for dock in docks if not dock.isFloating() and is_in_front(dock)), None)


def bring_docks(viewer: Any, asked: QWidget) -> None:
    """Open the other docks of the workflow as tabs next to ``asked``, which stays in front.

    Does nothing when ``asked`` is not in a dock of the viewer.
    """
    asked_dock = dock_of(asked)
    if asked_dock is None:
        return
    window: QMainWindow = viewer.window._qt_window
    right, below = Qt.DockWidgetArea.RightDockWidgetArea, Qt.DockWidgetArea.BottomDockWidgetArea
    window.setTabPosition(right | below, QTabWidget.TabPosition.North)  # the lower edge may be off a small screen
    docks = [dock for name in WORKFLOW if (dock := _open(viewer, name)) is not None]
    for before, dock in pairwise(docks):
        window.tabifyDockWidget(before, dock)
    asked_dock.raise_()
    screen = window.screen().availableGeometry()
    is_narrow, is_low = screen.width() < _SMALL_SCREEN_PX[0], screen.height() < _SMALL_SCREEN_PX[1]
    if is_low:
        window.setTabPosition(Qt.DockWidgetArea.LeftDockWidgetArea, QTabWidget.TabPosition.North)
        _share_place(viewer)
    if window.dockWidgetArea(asked_dock) == right and not asked_dock.isFloating():
        width = _SMALL_WIDTH_PX if is_narrow else DOCK_WIDTH_PX
        window.resizeDocks([asked_dock], [width], Qt.Orientation.Horizontal)
    _tighten_tabs(window, {dock.windowTitle() for dock in docks})


def _share_place(viewer: Any) -> None:
    """Make tabs of napari's layer controls and layer list: one above the other, they are higher than a low screen."""
    window, parts = viewer.window._qt_window, viewer.window._qt_viewer
    controls, layers = parts.dockLayerControls, parts.dockLayerList
    are_docked = all(dock.isVisible() and not dock.isFloating() for dock in (controls, layers))
    if are_docked and not window.tabifiedDockWidgets(controls):
        window.tabifyDockWidget(controls, layers)
        layers.raise_()


def _tighten_tabs(window: QMainWindow, titles: set[str]) -> None:
    """Let all tabs fit into a narrow dock; Qt would cut their texts off."""
    for bar in window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
        if titles & {bar.tabText(i) for i in range(bar.count())}:
            bar.setStyleSheet(_TABS_STYLE)
            bar.setElideMode(Qt.TextElideMode.ElideNone)
            bar.setUsesScrollButtons(True)


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
        name_dock(dock, name)
    return dock

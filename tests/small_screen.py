"""Walk all docks in a window of a given size: ``python small_screen.py WIDTH HEIGHT DOCK_WIDTH FOLDER``, with a folder.

Prints what cannot be read or reached, one line each. A process of its own, since Qt reads QT_SCALE_FACTOR at its start.
A ``DOCK_WIDTH`` of 0 leaves the docks as wide as they open.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from cut_text import cut_texts
from qtpy.QtCore import QPoint, QSettings, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea, QTabBar
from review_window import Window, open_window, pump

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.dock import Section
from napari_cellseg.gui.widgets.workflow import WORKFLOW, dock_of, show_dock

LONG = ClassTable(
    ("inflammatory lymphocytes of the stroma 1", "epithelial", "spindle-shaped & long & thin", "\u816b\u7624" * 20)
)


def main(width: int, height: int, dock_width: int, folder: Path) -> None:
    """Print the problems of all docks."""
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, tempfile.mkdtemp())
    with open_window() as window:
        show_dock(window.viewer, "Open")
        pump(0.3)
        _open_folder(window, folder)
        window.viewer.window.resize(width, height)
        pump(0.2)
        main_window = window.viewer.window._qt_window
        if (main_window.width(), main_window.height()) != (width, height):
            print(f"the window is {main_window.width()} x {main_window.height()}")  # noqa: T201
        for name in (*WORKFLOW, "Batch", "Models", "Gallery", "Table"):
            dock = show_dock(window.viewer, name)
            assert dock is not None
            if name in WORKFLOW and dock_width:
                main_window.resizeDocks([dock_of(dock)], [dock_width], Qt.Orientation.Horizontal)
            pump(0.25)
            for section in dock.findChildren(Section):
                section.set_open(True)
            for problem in _problems(dock):
                print(f"{name} ({dock.width()} px): {problem}")  # noqa: T201
            if name not in WORKFLOW:
                dock_of(dock).close()  # type: ignore[union-attr]
        for problem in _tab_problems(main_window):
            print(problem)  # noqa: T201


def _problems(dock: Any) -> list[str]:
    """Return what is still cut off when the layout has settled, which takes a loaded machine more than a moment."""
    for _ in range(30):
        pump(0.1)
        if not (found := cut_texts(dock)):
            break
    return found


def _open_folder(window: Window, folder: Path) -> None:
    plugin = plugin_of(window.viewer)
    plugin.opener.open_path(folder)
    for _ in range(200):
        pump(0.05)
        if window.state.session is not None and not plugin.opener.job.is_busy:
            break
    window.state.set_classes(LONG)
    window.layers.finish()
    window.review.queue.finish()


def _tab_problems(window: Any) -> list[str]:
    """Click each tab of the docks with the mouse; say which does not bring its dock to the front."""
    found = []
    for number, name in enumerate(WORKFLOW, 1):
        bars = [bar for bar in window.findChildren(QTabBar) if bar.isVisible()]
        places = [(bar, i) for bar in bars for i in range(bar.count()) if bar.tabText(i) == f"{number} {name}"]
        if not places:
            found.append(f"no tab {number} {name}")
            continue
        bar, place = places[0]
        spot = bar.tabRect(place).center()
        if not window.rect().contains(bar.mapTo(window, spot)) or not bar.rect().contains(spot):
            found.append(f"the tab {number} {name} is off the screen")
            continue
        QTest.mouseClick(bar, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(spot))
        pump(0.1)
        if bar.currentIndex() != place:
            found.append(f"a click on the tab {number} {name} has no effect")
        areas = [area for area in window.findChildren(QScrollArea) if area.isVisible() and area.width() >= 280]
        if not areas:
            found.append(f"nothing of {name} is shown")
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))

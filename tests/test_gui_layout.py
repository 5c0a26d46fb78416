"""The docks at every size that is promised: nothing is cut off, nothing is out of reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from qtpy.QtWidgets import QLabel, QPushButton, QScrollArea, QTabWidget, QVBoxLayout, QWidget
from review_window import make_session, pump, wait_until

pytestmark = pytest.mark.gui
SCRIPT = Path(__file__).with_name("small_screen.py")


def walk(folder: Path, width: int, height: int, dock_width: int, **environment: str) -> str:
    command = [sys.executable, str(SCRIPT), str(width), str(height), str(dock_width), str(folder)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"HOME": str(folder.parent), "XDG_CONFIG_HOME": str(folder.parent)} | environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("WARNING: napari support"))


@pytest.fixture
def long_names(project_folder: Path) -> Path:
    for number, folder in enumerate(sorted(path for path in project_folder.iterdir() if path.is_dir())):
        folder.rename(folder.with_name(f"slide_2026-11-26_patient_{number:03d}_region_of_interest"))
    return project_folder


def test_nothing_is_cut_off_in_docks_of_300_px(long_names: Path) -> None:
    assert walk(long_names, 1366, 768, 300) == ""


@pytest.mark.slow  # the walk of 300 px, which is narrower, runs by default
def test_nothing_is_cut_off_or_out_of_reach_at_911_x_512_px(long_names: Path) -> None:
    # On the screen of the tests, 1600 x 1000, this leaves 914 x 571 logical pixels.
    assert walk(long_names, 911, 512, 0, QT_SCALE_FACTOR="1.75") == ""


def test_at_1366_x_768_review_fits_without_scrolling_and_the_queue_takes_the_rest(window) -> None:
    dock = window.dock("Review")
    window.viewer.window.resize(1366, 768)
    window.open(make_session())
    pump(0.3)
    window.review.next()
    pump(0.3)
    assert dock.findChild(QScrollArea).verticalScrollBar().maximum() == 0
    low = dock.queue_list.height()
    window.viewer.window.resize(1366, 900)
    pump(0.3)
    assert dock.queue_list.height() >= low + 100
    window.viewer.window.resize(1280, 800)
    pump(0.3)
    assert dock.queue_list.viewport().height() >= 5 * dock.queue_list.sizeHintForRow(0), "five cells at 1280 x 800"
    window.viewer.window.resize(1400, 900)


def test_the_tabs_are_on_top_and_numbered(window) -> None:
    from qtpy.QtCore import Qt

    from napari_cellseg.gui.widgets.workflow import WORKFLOW, dock_of, name_of

    dock = dock_of(window.dock("Review"))
    qt_window = window.viewer.window._qt_window
    wait_until(lambda: len(qt_window.tabifiedDockWidgets(dock)) >= len(WORKFLOW) - 1)  # they come a turn later
    assert qt_window.tabPosition(Qt.DockWidgetArea.RightDockWidgetArea) == QTabWidget.TabPosition.North
    others = [other.windowTitle() for other in qt_window.tabifiedDockWidgets(dock) if name_of(other) in WORKFLOW]
    assert sorted([dock.windowTitle(), *others]) == ["1 Open", "2 Segment", "3 Review", "4 Train", "5 Export"]


@pytest.mark.parametrize("name", ["Review", "Table"])
def test_the_title_of_a_dock_is_its_name_alone_and_stays_so_when_it_floats(window, name: str) -> None:
    from napari_cellseg.gui.widgets.workflow import dock_of

    dock = dock_of(window.dock(name))
    pump(0.1)
    assert "napari-cellseg" not in dock.windowTitle()
    dock.setFloating(True)
    pump(0.1)
    assert dock.titleBarWidget().title.text() == name
    dock.setFloating(False)
    pump(0.1)
    assert dock.titleBarWidget().title.text() == name


@pytest.mark.parametrize("name", ["Gallery", "Table", "Models"])
def test_a_dock_below_the_canvas_leaves_the_tab_in_front_that_was_there(window, name: str) -> None:
    from napari_cellseg.gui.widgets.workflow import dock_of, front_dock, show_dock

    window.dock("Open")
    pump(0.2)
    review = show_dock(window.viewer, "Review")
    pump(0.2)
    below = dock_of(show_dock(window.viewer, name))
    pump(0.3)
    assert front_dock(window.viewer.window._qt_window) is dock_of(review)
    below.destroyOnClose()
    window.docks.pop(name, None)
    pump(0.2)


def test_the_walk_finds_a_cut_label_a_cut_button_and_a_widget_that_reaches_out(qtbot) -> None:
    from cut_text import cut_texts

    dock = QWidget()
    column = QVBoxLayout(dock)
    label, button, wide = QLabel("a label that is far too long"), QPushButton("a button that is too long"), QLabel("ok")
    label.setFixedWidth(60)
    button.setFixedWidth(60)
    for widget in (label, button):
        column.addWidget(widget)
    wide.setParent(dock)
    wide.setGeometry(250, 0, 100, 20)
    dock.resize(300, 200)
    qtbot.addWidget(dock)
    dock.show()
    found = "\n".join(cut_texts(dock))
    assert "a label that" in found
    assert "a button that" in found
    assert "'ok': reaches 50 px out of the dock" in found

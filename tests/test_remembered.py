"""The values that the docks remember for the next session: folder, image, tab, model and minimum scores."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from review_window import open_window, pump

from napari_cellseg.gui.opening.dock import OpenDock
from napari_cellseg.gui.preferences import recall, remember
from napari_cellseg.gui.segment.dock import SegmentDock
from napari_cellseg.gui.widgets.workflow import show_dock


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((40, 50, 3), 200, np.uint8), photometric="rgb")
    return tmp_path


def wait(condition, seconds=60):
    for _ in range(int(seconds * 20)):
        pump(0.05)
        if condition():
            return
    raise AssertionError("it did not happen")


def widget(window, kind):
    return window.viewer.window._qt_window.findChildren(kind)[0]


def is_in_front(dock):
    return not dock.visibleRegion().isEmpty()


@pytest.mark.gui
def test_the_next_session_goes_on_with_folder_image_and_tab(folder):
    with open_window() as window:
        opened = window.dock("Open")
        opened.opener.open_path(folder, image_id="b")
        wait(lambda: window.state.image_id == "b")
        show_dock(window.viewer, "Segment")
        wait(lambda: recall("tab") == "Segment")
    assert (recall("folder"), recall("image")) == (str(folder), "b")

    with open_window() as window:
        window.dock("Open")
        wait(lambda: window.viewer.window._qt_window.findChildren(SegmentDock))
        pump(0.5)
        assert is_in_front(widget(window, OpenDock))  # what was asked for is in front
        widget(window, OpenDock).welcome.last.click()
        wait(lambda: window.state.image_id == "b")
        wait(lambda: is_in_front(widget(window, SegmentDock)))


@pytest.mark.gui
def test_a_slider_that_was_moved_is_where_it_was_left(folder):
    remember("folder", str(folder))
    with open_window() as window:
        dock = window.dock("Segment")
        class_id, slider = next(iter(dock.sliders.sliders.items()))
        slider.setValue(770)
        wait(lambda: window.state.min_scores.get(class_id) == 0.77)
    with open_window() as window:
        _, dock = window.viewer.window.add_plugin_dock_widget("napari-cellseg", "Segment")
        assert window.state.min_scores[class_id] == 0.77
        assert dock.sliders.sliders[class_id].value() == 770

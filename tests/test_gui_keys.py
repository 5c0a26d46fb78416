"""The keys of the review on every layer of the plugin, with no layer active, in lists and in fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.canvas.plugin_image import PluginImage
from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.review import ReviewSession, Status
from tests.review_window import Window, focus, pump, wait_until

pytestmark = pytest.mark.gui


@pytest.fixture
def session(window: Window) -> Iterator[ReviewSession]:
    made = window.open()
    pump(0.2)
    yield made
    window.review.tools.point()


@pytest.fixture
def examples(window: Window) -> Iterator[PluginImage]:
    layer = PluginImage(np.zeros((20, 20, 3), np.uint8), name="examples", rgb=True)
    window.viewer.add_layer(layer)
    yield layer
    window.viewer.layers.remove(layer)


def type_key(window: Window, key: Any, modifier: Any = Qt.NoModifier) -> None:
    """Press a key as the window system does: the widget with the focus gets it, or else the window."""
    QTest.keyClick(QApplication.focusWidget() or window.state.window, key, modifier)
    pump()


def decide_one(window: Window, session: ReviewSession) -> None:
    before = session.progress.reviewed
    type_key(window, Qt.Key_N)
    assert len(window.state.selection) == 1
    type_key(window, Qt.Key_A)
    assert session.progress.reviewed == before + 1


def test_keys_work_while_an_image_of_the_plugin_is_active(
    window: Window, session: ReviewSession, examples: PluginImage
) -> None:
    focus(window, window.canvas)
    for key, status in ((Qt.Key_A, Status.ACCEPTED), (Qt.Key_R, Status.REJECTED), (Qt.Key_1, None)):
        type_key(window, Qt.Key_N)
        (cell_id,) = window.state.selection
        window.layers.settle()
        window.viewer.layers.selection.active = examples
        type_key(window, key)
        cell = session.cells[cell_id]
        assert cell.status is status or (status is None and cell.class_id == 1 and cell.reviewed)
        assert str(examples.mode) == "pan_zoom"


def test_keys_work_while_no_layer_is_active_and_the_viewer_gets_its_own_back(
    window: Window, session: ReviewSession
) -> None:
    pressed = []
    window.viewer.bind_key("A", lambda _: pressed.append("A"), overwrite=True)
    focus(window, window.canvas)
    window.viewer.layers.selection.clear()
    decide_one(window, session)
    assert pressed == []
    window.viewer.layers.selection.active = window.viewer.layers["tissue"]
    type_key(window, Qt.Key_A)
    assert pressed == ["A"]
    window.viewer.bind_key("A", None, overwrite=True)
    assert not window.viewer.keymap


def test_several_selected_layers_keep_the_keys_of_the_review(window: Window, session: ReviewSession) -> None:
    focus(window, window.canvas)
    window.viewer.layers.selection = set(window.layers)
    decide_one(window, session)


def test_a_layer_of_the_user_keeps_napari_s_keys(window: Window, session: ReviewSession) -> None:
    focus(window, window.canvas)
    tissue = window.viewer.layers["tissue"]
    window.viewer.layers.selection.active = tissue
    assert not tissue.keymap
    type_key(window, Qt.Key_2)
    assert str(tissue.mode) == "transform", "napari's own"
    type_key(window, Qt.Key_1)
    type_key(window, Qt.Key_V)
    assert not tissue.visible, "napari's own"
    type_key(window, Qt.Key_V)
    assert session.undo_text is None


def test_a_layer_of_another_plugin_keeps_its_keys(window: Window, session: ReviewSession) -> None:
    layer = window.viewer.add_points([[5, 5]], name="spots")
    layer.bind_key("R", lambda made: setattr(made, "name", "pressed"))
    focus(window, window.canvas)
    type_key(window, Qt.Key_R)
    assert layer.name == "pressed"
    assert session.undo_text is None
    window.viewer.layers.remove(layer)


def test_a_drawing_tool_leaves_the_image_for_the_class_of_the_selected_cell(
    window: Window, session: ReviewSession, examples: PluginImage
) -> None:
    focus(window, window.canvas)
    window.state.select((7,))
    window.layers.settle()
    window.viewer.layers.selection.active = examples
    type_key(window, Qt.Key_B)
    assert window.review.tools.tool is Tool.BRUSH
    assert window.viewer.layers.selection.active is window.layers.layer(session.cells[7].class_id)
    window.review.tools.point()
    window.viewer.layers.selection.active = examples
    type_key(window, Qt.Key_M)
    assert window.viewer.layers.selection.active is window.layers.layer(session.cells[7].class_id)
    assert str(window.viewer.layers.selection.active.mode) == "paint"


def test_keys_work_after_a_click_in_napari_s_layer_list(window: Window, session: ReviewSession) -> None:
    from qtpy.QtWidgets import QListView

    lists = [view for view in window.state.window.findChildren(QListView) if type(view).__name__ == "QtLayerList"]
    focus(window, lists[0])
    window.viewer.layers.selection.active = window.layers.layer(2)
    decide_one(window, session)


def test_keys_work_with_the_focus_in_the_image_list_and_in_the_other_docks(
    window: Window, session: ReviewSession
) -> None:
    from napari_cellseg.gui.widgets.workflow import show_dock

    for name, part in (("Open", "images"), ("Segment", "button"), ("Review", "queue_list")):
        window.dock(name)
        show_dock(window.viewer, name)
        widget = getattr(window.docks[name], part)
        widget.setVisible(True)
        widget.setEnabled(True)
        focus(window, widget)
        decide_one(window, session)


def test_a_number_field_gives_the_keyboard_back(window: Window, session: ReviewSession) -> None:
    from napari_cellseg.gui.widgets.workflow import show_dock

    dock = window.dock("Review")
    show_dock(window.viewer, "Review")
    for end in (Qt.Key_Return, Qt.Key_Escape):
        focus(window, dock.filter_row.score)
        dock.filter_row.score.selectAll()
        QTest.keyClicks(dock.filter_row.score, "0.9")
        type_key(window, end)
        decide_one(window, session)
    dock.filter_row.score.setValue(0)


@pytest.fixture
def folder(window: Window, project_folder: Path) -> Iterator[Path]:
    window.state.set_current(None, None, None)  # else a question about the edits of the test before
    yield project_folder
    window.review.opener.close()
    window.state.set_workspace(None, ())


def test_the_image_of_an_opened_folder_takes_the_keys(window: Window, folder: Path) -> None:
    window.review.opener.open_path(folder)
    wait_until(lambda: window.state.image_id is not None and not window.state.loading)
    window.layers.finish()
    window.review.queue.begin()
    window.review.queue.finish()
    (image,) = [layer for layer in window.viewer.layers if isinstance(layer, PluginImage)]
    focus(window, window.canvas)
    window.viewer.layers.selection.active = image
    type_key(window, Qt.Key_PageDown)
    wait_until(lambda: window.state.file == window.state.images[1] and not window.state.loading)

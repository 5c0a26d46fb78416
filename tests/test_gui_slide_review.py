"""Review of a slide in a real window, by its keys and the mouse; each decision is on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from review_window import focus, pump, wait_until
from slide_cells import grid_cells, write_store
from slide_files import write_pyramid
from test_gui_slide_cells import shown_at

from napari_cellseg.export import Which
from napari_cellseg.formats.cell_decisions import Decided
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.colours import STATUS_COLOURS, ColourMode, to_rgb
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.review.action_table import action
from napari_cellseg.review import Status

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("small_slides")]

SIZE = (600, 500)
CELLS = grid_cells(SIZE)


@pytest.fixture
def reviewed(window, tmp_path):
    """Open a slide with its cells, the keyboard on the canvas."""
    plugin = plugin_of(window.viewer)
    write_pyramid(tmp_path / "slide.tif", np.full((*SIZE, 3), 200, np.uint8))
    write_store(tmp_path / "cells" / "slide.sqlite", CELLS)
    open_slide(plugin, tmp_path)
    focus(window, window.canvas)
    yield plugin.slide_review
    plugin.opener._forget_folder()


def open_slide(plugin, folder):
    plugin.opener.open_path(folder)
    wait_until(lambda: plugin.state.slide is not None)
    camera = camera_of(plugin.state.viewer)
    camera.center, camera.zoom = (300, 250), 2
    settle(plugin)


def settle(plugin):
    pump(0.03)
    wait_until(lambda: plugin.slides.is_up_to_date and plugin.slides.cells.totals is not None)
    pump()


def click(window, y, x):
    """Click a place of the slide."""
    from qtpy.QtTest import QTest

    camera, canvas = camera_of(window.viewer), window.canvas
    offset = (np.array([y, x]) - np.array(camera.center[-2:])) * camera.zoom
    from qtpy.QtCore import QPoint

    QTest.mouseClick(
        canvas,
        Qt.LeftButton,
        Qt.NoModifier,
        QPoint(round(canvas.width() / 2 + offset[1]), round(canvas.height() / 2 + offset[0])),
    )
    pump()


def of(review):
    return {cell_id: decision.decided for cell_id, decision in review.decisions.of.items()}


def id_at(y, x):
    inside = (CELLS.boxes[:, 0] <= x) & (x < CELLS.boxes[:, 2]) & (CELLS.boxes[:, 1] <= y) & (y < CELLS.boxes[:, 3])
    return int(np.flatnonzero(inside)[0]) + 1


def test_click_reject_undo_redo_by_mouse_and_keys(window, reviewed):
    plugin = plugin_of(window.viewer)
    click(window, 220, 270)
    chosen = id_at(220, 270)
    assert reviewed.selected.id == chosen
    outline = window.viewer.layers["selected cell"]
    assert outline.visible
    assert (outline.translate + 1).tolist() == [210, 260], "around its box, with 1 px of white outside"
    assert window.review.slide is reviewed
    window.type_key(Qt.Key_R)
    settle(plugin)
    assert of(reviewed) == {chosen: Decided.REJECTED}
    assert shown_at(plugin, 220, 270)[3] == 0
    assert reviewed.selected.id != chosen, "the next one in view"
    click(window, 220, 270)
    assert reviewed.selected is None, "a rejected cell is hidden"
    window.type_key(Qt.Key_Z, Qt.ControlModifier)
    settle(plugin)
    assert of(reviewed) == {}
    assert reviewed.selected.id == chosen
    assert shown_at(plugin, 220, 270)[3] > 0
    window.type_key(Qt.Key_Y, Qt.ControlModifier)
    settle(plugin)
    assert of(reviewed) == {chosen: Decided.REJECTED}


def test_next_goes_through_the_undecided_cells_in_view_lowest_score_first(window, reviewed):
    view = plugin_of(window.viewer).slides.view.box
    boxes = CELLS.boxes
    in_view = (boxes[:, 2] > view[0]) & (boxes[:, 0] < view[2]) & (boxes[:, 3] > view[1]) & (boxes[:, 1] < view[3])
    expected = [int(i) + 1 for i in np.flatnonzero(in_view)[::-1]]
    window.type_key(Qt.Key_N)
    assert reviewed.selected.id == expected[0]
    window.type_key(Qt.Key_A)
    assert reviewed.selected.id == expected[1]
    window.type_key(Qt.Key_N)
    assert reviewed.selected.id == expected[2]
    window.type_key(Qt.Key_N, Qt.ShiftModifier)
    assert reviewed.selected.id == expected[1], "the one before; the first is decided"
    window.type_key(Qt.Key_A, Qt.ShiftModifier)
    assert set(of(reviewed)) == set(expected)
    assert "in view accepted" in window.viewer.status
    window.type_key(Qt.Key_N)
    assert reviewed.selected is None
    assert "No cell in view awaits a decision" in window.viewer.status
    window.type_key(Qt.Key_Z, Qt.ControlModifier)
    assert set(of(reviewed)) == {expected[0]}, "one step took all in view"


def test_a_digit_sets_the_class(window, reviewed):
    plugin = plugin_of(window.viewer)
    click(window, 220, 270)
    chosen = id_at(220, 270)
    assert CELLS.class_ids[chosen - 1] == 2
    window.type_key(Qt.Key_1)
    settle(plugin)
    assert of(reviewed) == {chosen: Decided.EDITED}
    expected = [round(255 * value) for value in plugin.state.classes.rgb(1)]
    assert shown_at(plugin, 220, 270)[:3] == expected
    click(window, 220, 270)
    window.type_key(Qt.Key_2)
    assert of(reviewed) == {chosen: Decided.ACCEPTED}, "the class of the model again"
    click(window, 220, 220)
    window.type_key(Qt.Key_3)
    assert id_at(220, 220) not in of(reviewed), "there is no class 3"


def test_decisions_are_there_when_the_slide_is_opened_again(window, reviewed, tmp_path):
    plugin = plugin_of(window.viewer)
    click(window, 220, 270)
    window.type_key(Qt.Key_R)
    plugin.opener._forget_folder()
    assert (tmp_path / "cells" / "slide.decisions").is_file()
    open_slide(plugin, tmp_path)
    assert of(reviewed) == {id_at(220, 270): Decided.REJECTED}
    assert shown_at(plugin, 220, 270)[3] == 0
    assert reviewed.counts_text == f"1 / {len(CELLS)} reviewed"
    dock = window.dock("Review")
    dock.refresh()
    assert dock.counts.text() == reviewed.counts_text
    assert dock.buttons["undo"].isEnabled()
    assert "images in memory" in dock.buttons["merge"].toolTip()
    assert not dock.filter_row.isEnabled(), "it has no effect on a slide"
    plugin.opener._forget_folder()
    dock.refresh()
    assert dock.filter_row.isEnabled()


def test_decisions_are_seen_with_the_colours_of_the_status(window, reviewed):
    plugin = plugin_of(window.viewer)
    dock = window.dock("Review")
    assert reviewed.is_open
    choose_colours(dock, ColourMode.STATUS)
    settle(plugin)
    assert shown_at(plugin, 220, 270)[:3] == rgb_of(STATUS_COLOURS[Status.PROPOSED])
    click(window, 220, 270)
    window.type_key(Qt.Key_A)
    settle(plugin)
    assert shown_at(plugin, 220, 270)[:3] == rgb_of(STATUS_COLOURS[Status.ACCEPTED])
    assert shown_at(plugin, 220, 220)[:3] == rgb_of(STATUS_COLOURS[Status.PROPOSED])
    choose_colours(dock, ColourMode.CLASS)
    dock._show._contour.setChecked(False)
    settle(plugin)
    assert shown_at(plugin, 220, 270)[:3] == rgb_of(plugin.state.classes.colour(2))
    assert shown_at(plugin, 210, 270)[3] < 255, "no contour"
    dock._show._contour.setChecked(True)
    settle(plugin)
    assert shown_at(plugin, 210, 270)[3] == 255


def choose_colours(dock, mode):
    choice = dock._show._mode
    dock.refresh()
    assert choice.isEnabled()
    choice.setCurrentIndex(choice.findData(mode))
    choice.activated.emit(choice.currentIndex())


def rgb_of(colour):
    return [round(255 * value) for value in to_rgb(colour)]


def test_n_after_a_click_continues_from_the_clicked_cell(window, reviewed):
    click(window, 220, 270)
    clicked = np.float32(reviewed.selected.score)
    later = min(score for score in CELLS.scores if score > clicked)
    window.type_key(Qt.Key_N)
    assert np.float32(reviewed.selected.score) == later, "the next higher score"
    click(window, 220, 270)
    window.type_key(Qt.Key_A)
    assert np.float32(reviewed.selected.score) == later
    click(window, 220, 270)
    window.type_key(Qt.Key_N)
    assert np.float32(reviewed.selected.score) == later, "also from a decided cell"


def test_masks_are_hidden_while_h_is_held_and_outlined_by_o(window, reviewed):
    plugin = plugin_of(window.viewer)
    assert reviewed.is_open
    fill = shown_at(plugin, 220, 270)[3]
    window.type_key(Qt.Key_O)
    assert shown_at(plugin, 220, 270)[3] == 0
    window.type_key(Qt.Key_O)
    assert shown_at(plugin, 220, 270)[3] == fill
    window.review.showing.toggle()
    assert not plugin.slides.cells._cells.visible
    window.review.showing.toggle()
    assert plugin.slides.cells._cells.visible
    assert action("accept").needs(window.review) == "Select a cell first: click it, or press N."


def test_an_export_leaves_rejected_cells_out_and_has_the_new_classes(window, reviewed, tmp_path):
    assert reviewed.is_open
    click(window, 220, 270)
    window.type_key(Qt.Key_R)
    click(window, 220, 220)
    window.type_key(Qt.Key_2)
    dock = window.dock("Export")
    dock.choose(frozenset({"results", "geojson", "measurements"}), Which.ONE, tmp_path / "out")
    assert dock.export_button.isEnabled()
    dock.export()
    wait_until(lambda: not dock.job.is_busy)
    rows = json.loads((tmp_path / "out" / "test-results.json").read_text())
    found = np.bincount([row["category_id"] for row in rows])
    of_model = np.bincount(CELLS.class_ids)
    assert found.tolist() == [0, of_model[1] - 1, of_model[2]], "one square rejected, one round cell is a square now"
    features = json.loads((tmp_path / "out" / "geojson" / "slide.geojson").read_text())
    features = features["features"] if isinstance(features, dict) else features
    assert len(features) == len(CELLS) - 1
    dock.choose(frozenset({"labels"}), Which.ONE, tmp_path)
    assert "Not for slides" in dock.export_button.toolTip()
    assert dock.reason.text() == dock.export_button.toolTip(), "to be read without the mouse over the button"
    assert not dock.reason.isHidden()
    dock.choose(frozenset({"results"}), Which.ALL, tmp_path / "all")
    dock.export()
    wait_until(lambda: not dock.job.is_busy)
    everything = json.loads((tmp_path / "all" / "test-results.json").read_text())
    assert len(everything) > 100, "all images of a folder with only this slide"


def test_all_images_with_a_slide_among_them_leave_its_exported_files(window, reviewed, tmp_path):
    plugin = plugin_of(window.viewer)
    plugin.opener._forget_folder()
    tifffile.imwrite(tmp_path / "field.tif", np.zeros((20, 20, 3), np.uint8), photometric="rgb")
    plugin.opener.open_path(tmp_path, image_id="slide")
    wait_until(lambda: plugin.state.slide is not None and reviewed.to_export() is not None)
    dock = window.dock("Export")
    dock.choose(frozenset({"results", "coco", "measurements"}), Which.ONE, tmp_path / "out")
    dock.export()
    wait_until(lambda: not dock.job.is_busy)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert len(json.loads(before[tmp_path / "out" / "test-results.json"])) > 100
    dock.choose(frozenset({"results", "coco", "measurements"}), Which.ALL, tmp_path / "out")
    dock.export()
    wait_until(lambda: not dock.job.is_busy)
    assert "Nothing was exported" in dock.problems.text()
    assert "Open the slide, and export only it" in dock.problems.text()
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before

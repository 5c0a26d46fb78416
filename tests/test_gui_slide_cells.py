"""The cells of a slide in a real window: outlines near, density far, by class, and what is not this slide's."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from review_window import pump, wait_until
from slide_cells import CLASSES, grid_cells, write_store
from slide_files import write_pyramid

from napari_cellseg.classes import ClassTable
from napari_cellseg.export import Which
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.slides import slide_cells
from napari_cellseg.gui.thresholds import first_min_scores
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("small_slides")]

SIZE = (600, 500)
CELLS = grid_cells(SIZE)


@pytest.fixture
def plugin(window):
    plugin = plugin_of(window.viewer)
    yield plugin
    plugin.opener._forget_folder()
    plugin.state.set_min_scores({})


def open_slide(plugin, folder, *, with_cells=True):
    pixels = np.full((*SIZE, 3), 200, np.uint8)
    write_pyramid(folder / "slide.tif", pixels)
    if with_cells:
        write_store(folder / "cells" / "slide.sqlite", CELLS)
    plugin.opener.open_path(folder)
    wait_until(lambda: plugin.state.slide is not None)
    look_at(plugin, (300, 250), 2)


def look_at(plugin, centre, zoom):
    camera = camera_of(plugin.state.viewer)
    camera.center, camera.zoom = centre, zoom
    settle(plugin)


def settle(plugin):
    pump(0.03)
    wait_until(
        lambda: (
            (plugin.slides.is_up_to_date and plugin.slides.cells.totals is not None) or plugin.slides.cells.path is None
        )
    )
    pump()


def shown_at(plugin, y, x):
    """Return the colour that the cells have at a place of the slide."""
    layer = plugin.slides.cells._cells
    row, column = (np.array([y, x]) - layer.translate) / layer.scale
    return layer.data[round(row), round(column)].tolist()


def said():
    return [str(record.message) for record in notification_manager.records]


def test_cells_next_to_the_slide_are_outlined_and_counted(plugin, tmp_path):
    open_slide(plugin, tmp_path)
    assert plugin.state.classes.names == CLASSES.names, "those of the file"
    assert [layer.name for layer in plugin.state.viewer.layers if layer.name in CLASSES.names] == ["round", "square"]
    expected = [round(255 * value) for value in plugin.state.classes.rgb(2)]
    assert shown_at(plugin, 220, 270)[:3] == expected
    assert 0 < shown_at(plugin, 220, 270)[3] < shown_at(plugin, 210, 270)[3] == 255, "a fill and a contour"
    assert shown_at(plugin, 240, 240)[3] == 0
    totals = {i: int((CELLS.class_ids == i).sum()) for i in (1, 2)}
    assert plugin.slides.cells.totals == totals


def test_tiles_that_are_not_predicted_are_counted_and_reported_by_the_export(plugin, window, tmp_path):
    write_store(tmp_path / "cells" / "slide.sqlite", CELLS, complete=False, planned=12, to_predict=9)
    with CellStore.open(tmp_path / "cells" / "slide.sqlite") as store:
        store.add(dict.fromkeys(range(1, 4), "glass"), TileCells.empty(SIZE), TileCells.empty(SIZE))
    open_slide(plugin, tmp_path, with_cells=False)
    text = window.dock("Open").slide.text
    assert text.text().endswith("\n1 of 9 tiles is predicted; Segment slide continues.")
    dock = window.dock("Export")
    dock.choose(frozenset({"geojson"}), Which.ONE, tmp_path / "out")
    dock.export()
    wait_until(lambda: not dock.job.is_busy)
    assert "1 slide with tiles that are not predicted" in dock.row.message.text()
    assert dock.problems.text() == "slide: 1 of 9 tiles is predicted. The cells of the rest are missing."
    with CellStore.open(tmp_path / "cells" / "slide.sqlite") as store:
        store.finish()
    plugin.slides.cells.grow()
    wait_until(lambda: "tiles" not in text.text())


def test_a_class_is_hidden_and_made_transparent_by_its_layer(plugin, tmp_path):
    open_slide(plugin, tmp_path)
    square = plugin.state.viewer.layers["square"]
    before = shown_at(plugin, 220, 270)[3]
    square.opacity = 0.5
    assert shown_at(plugin, 220, 270)[3] == pytest.approx(before / 2, abs=1)
    square.visible = False
    settle(plugin)
    assert shown_at(plugin, 220, 270)[3] == 0
    assert shown_at(plugin, 220, 220)[3] > 0
    square.visible, square.opacity = True, 1.0
    settle(plugin)
    assert shown_at(plugin, 220, 270)[3] == before


def test_minimum_scores_leave_cells_out(plugin, tmp_path):
    open_slide(plugin, tmp_path)
    plugin.state.set_min_scores({1: 0.0, 2: 0.95})
    settle(plugin)
    assert shown_at(plugin, 220, 270)[3] == 0
    assert shown_at(plugin, 220, 220)[3] > 0
    assert plugin.slides.cells.totals[2] == 0


def test_with_many_cells_in_view_their_density_is_shown(plugin, tmp_path, monkeypatch):
    monkeypatch.setattr(slide_cells, "MOST_DRAWN", 30)
    open_slide(plugin, tmp_path)
    look_at(plugin, (300, 250), 10)
    assert not plugin.slides.cells.is_far
    look_at(plugin, (300, 250), 0.5)
    cells = plugin.slides.cells
    assert cells.is_far
    assert cells._density.visible
    assert not cells._cells.visible
    assert cells._density.data.shape[:2] == (10, 8)
    assert cells._density.data[..., 3].max() > 0
    look_at(plugin, (300, 250), 10)
    assert cells._cells.visible
    assert not cells._density.visible


def test_cells_of_a_coarse_level_lie_on_the_same_tissue(plugin, tmp_path):
    write_store(tmp_path / "run" / "cells" / "slide.sqlite", grid_cells((300, 250), spacing=25, side=10))
    open_slide(plugin, tmp_path, with_cells=False)
    assert plugin.slides.cells.path is None
    assert plugin.slides.open_cells(tmp_path / "run" / "cells" / "slide.sqlite")
    plugin.state.set_min_scores({})  # those of the model in Segment, if an earlier test opened the docks
    settle(plugin)
    assert plugin.slides.cells.factor == 2
    x0, y0, x1, y1 = (
        2 * value for value in grid_cells((300, 250), spacing=25, side=10).boxes[65].tolist()
    )  # in the middle
    assert shown_at(plugin, (y0 + y1) // 2, (x0 + x1) // 2)[3] > 0
    assert shown_at(plugin, y1 + 5, x1 + 5)[3] == 0


def test_cells_of_another_image_are_refused_and_a_chosen_file_is_remembered(plugin, tmp_path):
    other = write_store(tmp_path / "other.sqlite", grid_cells((200, 200)))
    changed = write_store(tmp_path / "changed.sqlite", CELLS, made_from={"image": {"bytes": 3, "sha256_of_ends": "x"}})
    right = write_store(tmp_path / "right.sqlite", CELLS)
    open_slide(plugin, tmp_path, with_cells=False)
    assert not plugin.slides.open_cells(other)
    assert "200 x 200 px, not of a level of slide.tif" in said()[-1]
    assert not plugin.slides.open_cells(changed)
    assert "cells of another file than slide.tif" in said()[-1]
    assert plugin.slides.cells.path is None
    assert plugin.slides.open_cells(right)
    plugin.opener._forget_folder()
    plugin.opener.open_path(tmp_path / "slide.tif")
    wait_until(lambda: plugin.state.slide is not None)
    assert plugin.slides.cells.path == right


def test_contours_are_seen_where_a_pixel_of_the_screen_is_larger_than_one_of_the_picture(plugin, tmp_path):
    open_slide(plugin, tmp_path)
    look_at(plugin, (300, 250), 0.73)
    assert plugin.slides.cells._cells.scale.tolist() == [1, 1]
    alphas = [shown_at(plugin, y, 270)[3] for y in (209, 210, 211, 212)]
    assert alphas[0] == 0
    assert alphas[1] == alphas[2] == 255
    assert alphas[3] < 255


def test_a_renamed_class_keeps_its_cells_also_when_the_slide_is_opened_again(plugin, tmp_path):
    open_slide(plugin, tmp_path)
    plugin.state.set_classes(ClassTable(("round", "other")))
    settle(plugin)
    expected = [round(255 * value) for value in plugin.state.classes.rgb(2)]
    assert shown_at(plugin, 220, 270)[:3] == expected, "by number, as everywhere in a project"
    plugin.state.set_classes(ClassTable(("round", "other", "square")))  # a new class with the old name
    plugin.opener.save()
    plugin.opener._forget_folder()
    open_slide(plugin, tmp_path)
    assert plugin.state.classes.names == ("round", "other", "square")
    assert plugin.slides.cells.match == {1: 1, 2: 2}
    assert plugin.slides.cells.totals[2] == np.count_nonzero(CELLS.class_ids == 2)


def test_classes_that_the_project_lacks_are_said_and_shown_once_they_are_there(plugin, tmp_path):
    open_slide(plugin, tmp_path)
    assert window_refuses_to_remove(plugin, "square")
    plugin.state.set_classes(ClassTable(("round",)))  # not offered by the window while cells may have the class
    assert plugin.slides.cells.path is None
    assert "the project lacks square" in said()[-1]
    plugin.state.set_classes(ClassTable(("other", "square", "round")))
    settle(plugin)
    expected = [round(255 * value) for value in plugin.state.classes.rgb(3)]
    assert shown_at(plugin, 220, 220)[:3] == expected, "by name, as for any model"


def window_refuses_to_remove(plugin, name):
    button = show_dock(plugin.state.viewer, "Open").classes.remove_button
    return not button.isEnabled() and name in button.toolTip()


@pytest.mark.parametrize("how", ["damaged", "of another size", "of a later version", "not a file of cells"])
def test_a_refused_file_leaves_the_cells_shown(plugin, tmp_path, how):
    open_slide(plugin, tmp_path)
    other = write_store(tmp_path / "other.sqlite", grid_cells((200, 200)) if how == "of another size" else CELLS)
    if how == "of a later version":
        with closing(sqlite3.connect(other)) as database:
            database.execute("PRAGMA user_version = 2")
    elif how == "damaged":
        other.write_bytes(other.read_bytes()[:5000])
    elif how == "not a file of cells":
        other.write_text("{}")
    before = shown_at(plugin, 220, 270)
    assert not plugin.slides.open_cells(other)
    settle(plugin)
    assert str(other) in said()[-1]
    assert said()[-1].endswith("The cells of slide.sqlite stay.")
    assert plugin.slides.cells.path == tmp_path / "cells" / "slide.sqlite"
    assert shown_at(plugin, 220, 270) == before
    assert plugin.state.slide_has_cells
    assert plugin.slide_review.why_not() is None


ANOTHER = {"made_from": {"model": "5ha"}, "model": {"name": "another", "min_scores": [0.6, 0.8]}}


def test_cells_of_another_model_get_the_minimum_scores_of_that_model(plugin, window, tmp_path):
    open_slide(plugin, tmp_path, with_cells=False)
    write_store(tmp_path / "cells" / "slide.sqlite", CELLS, **ANOTHER)
    shown = sum(CELLS.scores >= np.where(CELLS.class_ids == 1, 0.6, 0.8))
    plugin.opener._forget_folder()
    plugin.opener.open_path(tmp_path)
    wait_until(lambda: plugin.slide_review.to_export() is not None)
    assert plugin.slide_review.to_export().limits == {1: 0.6, 2: 0.8}, "also before any dock is open"
    settle(plugin)
    assert sum(plugin.slides.cells.totals.values()) == shown
    dock = show_dock(window.viewer, "Segment")
    plugin.state.set_model(bundled())
    settle(plugin)
    assert plugin.state.min_scores == {1: 0.6, 2: 0.8}
    assert dock.sliders.whose.text().startswith("Of another, which predicted the cells of this slide")
    assert not dock.sliders.whose.isHidden()
    export = show_dock(window.viewer, "Export")
    export.choose(frozenset({"results"}), Which.ONE, tmp_path / "out")
    export.export()
    wait_until(lambda: not export.job.is_busy)
    assert len(json.loads((tmp_path / "out" / "test-results.json").read_text())) == shown

    dock.sliders.sliders[1].setValue(700)
    wait_until(lambda: plugin.state.min_scores[1] == 0.7)
    plugin.opener._forget_folder()
    assert plugin.state.min_scores == first_min_scores(read_header(bundled())), "those of the chosen model again"
    assert dock.sliders.whose.isHidden()
    plugin.opener.open_path(tmp_path)
    wait_until(lambda: plugin.slide_review.to_export() is not None)
    assert plugin.state.min_scores == {1: 0.7, 2: 0.8}, "as the user set it for these cells"

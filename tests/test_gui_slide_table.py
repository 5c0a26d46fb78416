"""*Table* on a slide: the cells in view or of the region, sorted, clicked, decided about."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_window import focus, pump, wait_until
from slide_cells import grid_cells, write_store
from slide_files import write_pyramid

from napari_cellseg.formats.cell_decisions import Decided
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.slides import cell_list
from napari_cellseg.gui.widgets.workflow import show_dock

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("small_slides")]

SIZE = (600, 500)
CELLS = grid_cells(SIZE)


@pytest.fixture
def table(window, tmp_path):
    plugin = plugin_of(window.viewer)
    write_pyramid(tmp_path / "slide.tif", np.full((*SIZE, 3), 200, np.uint8))
    write_store(tmp_path / "cells" / "slide.sqlite", CELLS)
    plugin.opener.open_path(tmp_path)
    wait_until(lambda: plugin.state.slide is not None)
    dock = show_dock(window.viewer, "Table")
    plugin.state.set_min_scores({})
    look_at(plugin, (250, 250), 4)
    yield dock
    plugin.opener._forget_folder()


def look_at(plugin, centre, zoom):
    camera = camera_of(plugin.state.viewer)
    camera.center, camera.zoom = centre, zoom
    pump(0.03)
    wait_until(lambda: plugin.slides.is_up_to_date)


def ids_touching(box):
    x0, y0, x1, y1 = CELLS.boxes.T
    return set((np.flatnonzero((x1 > box[0]) & (x0 < box[2]) & (y1 > box[1]) & (y0 < box[3])) + 1).tolist())


def listed(table):
    return set(table.model.columns.get("cell_id", np.zeros(0)).tolist())


def test_the_cells_in_view_are_listed_and_a_row_is_gone_to(window, table):
    plugin = plugin_of(window.viewer)
    wait_until(lambda: listed(table) == ids_touching(plugin.slides.view.box))
    assert 0 < len(listed(table)) < len(CELLS)
    assert table.on_slide.text().startswith("The cells in view.")
    table.view.sortByColumn(2, Qt.AscendingOrder)
    assert table.model.shown_columns()["score"].tolist() == sorted(table.model.columns["score"])
    for row, modifier in ((2, Qt.NoModifier), (0, Qt.ShiftModifier)):
        place = table.view.visualRect(table.model.index(row, 0)).center()
        QTest.mouseClick(table.view.viewport(), Qt.LeftButton, modifier, place)
    assert len(table.view.selectionModel().selectedRows()) == 1, "a key decides about one cell"
    expected = table.model.cell_id(0)
    assert plugin.slide_review.selected.id == expected
    before = listed(table)
    focus(window, table.view)
    QTest.keyClick(table.view, Qt.Key_R)
    assert plugin.slide_review.decisions.of[expected].decided is Decided.REJECTED
    wait_until(lambda: listed(table) == before - {expected})
    picked = [table.model.cell_id(index.row()) for index in table.view.selectionModel().selectedRows()]
    assert picked == [plugin.slide_review.selected.id], "the next one"
    look_at(plugin, (500, 100), 4)
    wait_until(lambda: listed(table) == ids_touching(plugin.slides.view.box))
    area = table.model.columns["area_px"][table.model.columns["class"] == "square"]
    assert (area == 400).all()


def test_the_cells_of_a_region_are_listed_up_to_a_limit(window, table, monkeypatch):
    plugin = plugin_of(window.viewer)
    wait_until(lambda: listed(table))
    plugin.state.set_slide_region(((95.0, 95.0), (95.0, 300.0), (300.0, 95.0)))
    y0, x0 = CELLS.boxes[:, 1], CELLS.boxes[:, 0]
    y, x = y0 + 9.5, x0 + 9.5
    inside = set((np.flatnonzero((y > 95) & (x > 95) & (y + x < 395)) + 1).tolist())
    wait_until(lambda: listed(table) == inside)
    assert table.on_slide.text().startswith("The cells of the region.")
    monkeypatch.setattr(cell_list, "MOST_LISTED", 5)
    plugin.state.set_slide_region(((95.0, 95.0), (95.0, 301.0), (301.0, 95.0)))
    wait_until(lambda: "cells are in view, or in the region. Zoom in" in table.on_slide.text())
    assert not listed(table)
    plugin.opener._forget_folder()
    wait_until(lambda: table.on_slide.isHidden())

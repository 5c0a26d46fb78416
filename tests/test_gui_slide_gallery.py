"""*Gallery* on a slide: thumbnails of the cells in view, read by regions, with the decisions of any image."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from review_window import focus, pump, wait_until
from slide_cells import grid_cells, write_store
from slide_files import write_pyramid

from napari_cellseg.formats.cell_decisions import Decided
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.thumbnails import THUMBNAIL_PX
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.workflow import show_dock

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("small_slides")]

SIZE = (600, 500)
CELLS = grid_cells(SIZE)


@pytest.fixture
def gallery(window, tmp_path):
    plugin = plugin_of(window.viewer)
    pixels = np.full((*SIZE, 3), 200, np.uint8)
    for (x0, y0, x1, y1), class_id in zip(CELLS.boxes.tolist(), CELLS.class_ids.tolist(), strict=True):
        pixels[y0:y1, x0:x1] = (90, 20, 20) if class_id == 1 else (20, 20, 90)
    write_pyramid(tmp_path / "slide.tif", pixels)
    write_store(tmp_path / "cells" / "slide.sqlite", CELLS)
    plugin.opener.open_path(tmp_path)
    wait_until(lambda: plugin.state.slide is not None)
    dock = show_dock(window.viewer, "Gallery")
    plugin.state.set_min_scores({})
    camera = camera_of(plugin.state.viewer)
    camera.center, camera.zoom = (250, 250), 4
    wait_until(lambda: plugin.slides.is_up_to_date and dock.model.count)
    pump(0.3)
    wait_until(lambda: set(listed(dock)) == in_view(plugin))
    yield dock
    plugin.opener._forget_folder()


def in_view(plugin):
    box, (x0, y0, x1, y1) = plugin.slides.view.box, CELLS.boxes.T
    return set((np.flatnonzero((x1 > box[0]) & (x0 < box[2]) & (y1 > box[1]) & (y0 < box[3])) + 1).tolist())


def listed(gallery):
    return list(gallery.model._all)


def middle(gallery, row):
    """Return the colour in the middle of a thumbnail."""
    image = gallery.model.data(gallery.model.index(row), Qt.DecorationRole).toImage()
    colour = image.pixelColor(THUMBNAIL_PX // 2, THUMBNAIL_PX // 2)
    return colour.red(), colour.green(), colour.blue()


def test_thumbnails_of_the_cells_in_view_are_read_and_decided_about(window, gallery):
    plugin, model = plugin_of(window.viewer), gallery.model
    assert gallery.on_slide.text().startswith("The cells in view.")
    first = listed(gallery)[0]
    assert first == max(listed(gallery)), "the lowest score"
    colours = {1: (90, 20, 20), 2: (20, 20, 90)}
    wait_until(lambda: middle(gallery, 0) == colours[CELLS.class_ids[first - 1]])

    view = gallery.view
    QTest.mouseClick(view.viewport(), Qt.LeftButton, pos=view.visualRect(model.index(0)).center())
    assert plugin.slide_review.selected.id == first
    focus(window, view)
    QTest.keyClick(view, Qt.Key_A)
    wait_until(lambda: model.data(model.index(model.row_of(first))).endswith("✓"))
    assert plugin.slide_review.selected.id != first

    second = listed(gallery)[1]
    cell = view.visualRect(model.index(model.row_of(second)))
    cross = QPoint(cell.center().x() + THUMBNAIL_PX // 2 - 4, cell.top() + 8)
    QTest.mouseClick(view.viewport(), Qt.LeftButton, pos=cross)
    assert plugin.slide_review.decisions.of[second].decided is Decided.REJECTED
    wait_until(lambda: second not in listed(gallery))

    third = listed(gallery)[2]
    other = 3 - int(CELLS.class_ids[third - 1])
    gallery._reclassify(other, [third])  # as a drop on a class does
    assert plugin.slide_review.decisions.of[third].class_id == other
    wait_until(lambda: plugin.state.classes.name(other) in model.data(model.index(model.row_of(third)), Qt.ToolTipRole))
    QTest.keyClick(view, Qt.Key_Z, Qt.ControlModifier)
    wait_until(lambda: third not in plugin.slide_review.decisions.of)

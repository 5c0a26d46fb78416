"""The real mouse on the canvas: brush, eraser, polygon, box, lasso, and the line and seeds of a split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from napari_cellseg.review import ReviewSession, Status
from tests.real_mouse import Mouse
from tests.review_window import Window, pump

pytestmark = pytest.mark.gui


@pytest.fixture
def session(window: Window) -> Iterator[ReviewSession]:
    made = window.open()
    pump(0.2)
    yield made
    for layer in window.layers:
        layer.mode = "pan_zoom"
    window.review.cutting.stop()


@pytest.fixture
def mouse(window: Window) -> Mouse:
    return Mouse(window)


def paint_mode(window: Window, class_id: int, mode: str) -> Any:
    window.layers.activate(class_id)
    window.layers.settle()
    layer = window.layers.layer(class_id)
    layer.brush_size, layer.mode = 5, mode
    pump(0.05)
    return layer


def test_a_brush_stroke_is_one_command_and_undo_brings_back_every_pixel(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    layer = paint_mode(window, 1, "paint")
    before = layer.data.copy()
    mouse.drag([(40, 40), (40, 48), (44, 52), (46, 52)])
    assert session.undo_text == "draw #21"
    assert session.cells[21].status is Status.EDITED
    assert np.array_equal(layer.data, session.view(1))
    assert session.cells[21].covers(40, 44), "between two moves of the mouse it is painted too"
    mouse.drag([(46, 52), (50, 56)])
    assert session.undo_text == "paint #21", "the next stroke continues the cell"
    window.press("Control-Z")
    window.press("Control-Z")
    assert np.array_equal(layer.data, before)
    assert 21 not in session.cells


def test_the_eraser_takes_pixels_from_a_cell(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    whole = session.cells[1].area
    paint_mode(window, 1, "erase")
    mouse.drag([(20, 10), (20, 30)])
    assert session.cells[1].area < whole
    assert session.undo_text == "erase #1"
    assert not session.cells[1].covers(20, 20)


def test_a_polygon_is_a_new_cell(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    layer = paint_mode(window, 2, "polygon")
    for corner in ((40, 40), (40, 52), (52, 52), (52, 40)):
        mouse.click(*corner)
        pump(0.3)  # else two clicks are a double click
    layer._overlays["polygon"].add_polygon_to_labels(layer)  # as the double click does that ends a polygon
    assert session.undo_text == "draw #21"
    assert session.cells[21].class_id == 2
    assert session.cells[21].covers(46, 46)


def test_shift_drag_selects_a_box_and_control_drag_a_lasso(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    from qtpy.QtCore import Qt

    mouse.drag([(5, 5), (20, 40), (35, 75)], Qt.ShiftModifier)
    assert window.state.selection == (1, 2)
    window.state.select(())
    mouse.drag([(45, 5), (45, 35), (75, 35), (75, 5), (46, 5)], Qt.ControlModifier)
    assert window.state.selection == (6,)
    window.press("R")
    assert session.cells[6].status is Status.REJECTED


def test_a_cell_is_cut_along_a_drawn_line_and_at_clicked_seeds(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    window.state.select((7,))
    x0, y0, x1, y1 = session.cells[7].box
    middle = (x0 + x1) / 2
    window.press("K")
    mouse.drag([(y0 - 5, middle), (y0 + 5, middle), (y1 + 5, middle)])
    assert session.undo_text == "split #7"
    window.press("Control-Z")
    window.state.select((7,))
    window.press("K")
    mouse.click((y0 + y1) / 2, x0 + 3)
    pump(0.5)
    mouse.click((y0 + y1) / 2, x1 - 3)
    window.press("Enter")
    assert session.undo_text == "split #7"
    assert abs(session.cells[7].area - session.cells[max(session.cells)].area) < 40


def test_strokes_merges_splits_and_classes_interleaved_are_undone_in_the_window(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    start = {i: (c.class_id, c.status, c.box, c.mask.tobytes()) for i, c in session.cells.items()}
    pixels = [layer.data.copy() for layer in window.layers]
    paint_mode(window, 1, "paint")
    window.review.draw_new()
    mouse.drag([(40, 38), (40, 42)])
    window.review.draw_new()
    mouse.drag([(40, 46), (40, 50)])
    window.layers.layer(1).mode = "pan_zoom"
    window.state.select((21, 22))
    window.press("Q")
    window.press("3")
    window.state.select((2,))
    window.press("K")
    mouse.drag([(5, 60), (20, 60), (35, 60)])
    steps = 0
    while session.undo_text is not None:
        window.press("Control-Z")
        steps += 1
    assert steps == 5
    assert {i: (c.class_id, c.status, c.box, c.mask.tobytes()) for i, c in session.cells.items()} == start
    assert all(np.array_equal(layer.data, before) for layer, before in zip(window.layers, pixels, strict=True))

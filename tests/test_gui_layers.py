"""The class layers are views of the session, in a real viewer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.review import Cell, ReviewSession, Status
from tests.review_window import CLASSES, SIZE, Window, disk, make_session, pump, stroke

pytestmark = pytest.mark.gui


def whole_state(window: Window, session: ReviewSession) -> list[Any]:
    """Everything that an undo must bring back: pixels, classes, status, features."""
    window.layers.finish()
    pixels = [layer.data.copy() for layer in window.layers]
    features = [{name: list(column) for name, column in layer.features.items()} for layer in window.layers]
    cells = [(c.cell_id, c.class_id, c.status, c.score, c.box, c.mask.tobytes()) for c in session.cells.values()]
    return [pixels, features, sorted(cells)]


def same(first: list[Any], second: list[Any]) -> bool:
    return (
        all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))
        and first[1] == second[1]
        and first[2] == second[2]
    )


def test_one_layer_a_class_with_name_colour_ids_and_features(window: Window, session: ReviewSession) -> None:
    assert [layer.name for layer in window.layers] == list(CLASSES.names)
    layer = window.layers.layer(2)
    assert np.array_equal(layer.data, session.view(2))
    assert set(np.unique(layer.data)) == {0, 2, 6, 10, 14, 18}
    assert np.allclose(layer.get_color(2), (*CLASSES.rgb(2), 1))
    assert list(layer.features["cell_id"]) == [2, 6, 10, 14, 18]
    assert list(layer.features["score"]) == pytest.approx([0.33, 0.45, 0.57, 0.69, 0.81])
    assert set(layer.features["status"]) == {"proposed"}
    assert layer.metadata["cells"] == 5


def test_the_pointer_reads_class_score_and_area(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    status = window.layers.layer(2).get_status((20, 60), world=True)["coordinates"]
    assert "inflammatory" in status
    assert "score: 0.33" in status
    assert "area: 316" in status


def test_a_brush_stroke_is_one_command_and_draws_a_new_cell(window: Window, session: ReviewSession) -> None:
    window.layers.activate(3)
    layer = window.layers.layer(3)
    before = len(session.cells)
    stroke(layer, [(40, 40), (40, 44), (42, 48)])
    assert len(session.cells) == before + 1
    assert session.undo_text == "draw #21"
    assert session.cells[21].class_id == 3
    assert set(np.unique(layer.data[36:46, 36:52])) == {0, 21}
    assert window.state.selection == (21,), "the next stroke continues the cell"
    stroke(layer, [(44, 50)])
    assert session.undo_text == "paint #21"
    assert len(layer._undo_history) == 0, "napari keeps no history of its own"


def test_painting_on_another_cell_takes_its_pixels(window: Window) -> None:
    left = Cell(cell_id=1, class_id=3, score=0.5, status=Status.PROPOSED, box=(10, 10, 30, 30), mask=disk(20))
    right = Cell(cell_id=2, class_id=3, score=0.5, status=Status.PROPOSED, box=(30, 10, 50, 30), mask=disk(20))
    session = window.open(ReviewSession(SIZE, CLASSES, (left, right)))
    window.review.show_cell(1)
    layer = window.layers.layer(3)
    layer.mode = "paint"
    assert layer.selected_label == 1
    stroke(layer, [(20, 27), (20, 33)], 5)
    assert session.cells[1].area > left.area
    assert session.cells[2].area < right.area
    assert {session.cells[i].status for i in (1, 2)} == {Status.EDITED}
    assert np.array_equal(layer.data, session.view(3))


def test_a_stroke_far_from_the_selected_cell_draws_a_new_one(window: Window, session: ReviewSession) -> None:
    window.review.show_cell(1)
    stroke(window.layers.layer(1), [(120, 80)])
    assert session.cells[1].area == int(disk(20).sum())
    assert session.cells[21].class_id == 1


def test_an_id_of_another_class_draws_a_new_cell(window: Window, session: ReviewSession) -> None:
    window.layers.activate(1)
    layer = window.layers.layer(1)
    layer.selected_label = 2  # a cell of class 2
    stroke(layer, [(40, 40)])
    assert session.cells[2].area == int(disk(20).sum())
    assert session.cells[21].class_id == 1
    assert np.array_equal(layer.data, session.view(1))


def test_eraser_fill_and_polygon_are_commands_too(window: Window, session: ReviewSession) -> None:
    window.layers.activate(1)
    layer = window.layers.layer(1)
    start = whole_state(window, session)
    stroke(layer, [(20, 20)], 7, erase=True)
    assert not session.cells[1].mask[10, 10]
    layer.fill((20, 14), 0)
    assert 1 not in session.cells, "a cell that loses all its pixels is gone"
    layer.mode = "polygon"
    layer.selected_label = session.next_id
    layer.paint_polygon([(60, 60), (60, 75), (75, 75), (75, 60)], layer.selected_label)
    layer.mode = "pan_zoom"
    assert session.undo_text is not None
    assert session.undo_text.startswith("draw")
    assert window.state.selection == (), "the next polygon is another cell"
    for _ in range(3):
        session.undo()
    assert same(whole_state(window, session), start)


def test_interleaved_edits_are_undone_exactly_with_the_right_layer_shown(
    window: Window, session: ReviewSession
) -> None:
    steps = [
        (1, lambda: stroke(window.layers.layer(1), [(20, 31), (22, 34)])),
        (3, lambda: session.merge((21, 22))),
        (2, lambda: session.split_by_line(2, [(0, 60), (60, 60)])),
        (4, lambda: session.reclassify((6,), 4)),
        (1, lambda: stroke(window.layers.layer(1), [(20, 20)], 5, erase=True)),
        (4, lambda: session.reject((4,))),
        (3, lambda: session.accept((11,))),
        (2, lambda: session.delete((10,))),
    ]
    session.add(3, (30, 35, 38, 43), np.ones((8, 8), bool))
    session.add(3, (38, 35, 46, 43), np.ones((8, 8), bool))
    states = [whole_state(window, session)]
    for class_id, step in steps:
        window.layers.activate(class_id)
        window.state.select(())
        step()
        states.append(whole_state(window, session))
    for place in range(len(steps) - 1, -1, -1):
        window.viewer.layers.selection.active = window.layers.layer(1 + place % 4)
        window.layers.layer(steps[place][0]).visible = False
        window.press("Control-Z")
        assert same(whole_state(window, session), states[place]), f"undo of step {place}"
        active = window.viewer.layers.selection.active
        touched = {session.cells[i].class_id for i in window.state.selection}
        assert active.class_id in touched
        assert active.visible
    for place in range(1, len(states)):
        window.press("Control-Shift-Z")
        assert same(whole_state(window, session), states[place]), f"redo of step {place - 1}"


def test_only_the_touched_box_is_drawn_again(window: Window, session: ReviewSession) -> None:
    layer = window.layers.layer(2)
    sizes: list[tuple[int, ...]] = []
    layer.events.labels_update.connect(lambda event: sizes.append(event.data.shape))
    session.reject((2,))
    assert sizes == [(24, 24)], "20 px and a rim of 2 px for the outlines"
    shown = layer._slice.image.view
    layer.redraw_all()
    assert np.array_equal(layer._slice.image.view, shown), "as if everything were redrawn"


def test_minimum_scores_hide_cells_at_once(window: Window, session: ReviewSession) -> None:
    window.state.set_min_scores({2: 0.5})
    assert set(np.unique(window.layers.layer(2).data)) == {0, 10, 14, 18}
    window.layers.finish()
    assert window.layers.layer(2).metadata["cells"] == 3
    window.state.set_min_scores({})
    assert np.array_equal(window.layers.layer(2).data, session.view(2))
    assert set(np.unique(session.view(2))) == {0, 2, 6, 10, 14, 18}


def test_the_surer_of_two_overlapping_cells_is_on_top_and_the_other_is_kept(window: Window) -> None:
    low = Cell(cell_id=1, class_id=1, score=0.4, status=Status.PROPOSED, box=(10, 10, 30, 30), mask=disk(20))
    high = Cell(cell_id=2, class_id=1, score=0.9, status=Status.PROPOSED, box=(20, 10, 40, 30), mask=disk(20))
    session = window.open(ReviewSession(SIZE, CLASSES, (low, high)))
    layer = window.layers.layer(1)
    assert layer.data[20, 25] == 2
    session.reject((2,))
    assert layer.data[20, 25] == 1
    session.undo()
    assert layer.data[20, 25] == 2


def test_the_selected_cell_is_outlined_in_white(window: Window, session: ReviewSession) -> None:
    layer = window.layers.layer(1)
    window.state.select((5,))
    shown = layer._slice.image.view
    ys, xs = np.nonzero(shown == 254)
    x0, y0, x1, y1 = session.cells[5].box
    assert len(ys)
    assert (ys >= y0).all()
    assert (ys < y1).all()
    assert (xs >= x0).all()
    assert (xs < x1).all()
    window.state.select(())
    assert not (layer._slice.image.view == 254).any()


def test_colours_by_status_follow_every_decision(window: Window, session: ReviewSession) -> None:
    from napari_cellseg.gui.canvas.colours import STATUS_COLOURS, ColourMode, to_rgb

    window.layers.colour_mode = ColourMode.STATUS
    try:
        layer = window.layers.layer(2)
        session.accept((2,))
        assert np.allclose(layer.get_color(2)[:3], to_rgb(STATUS_COLOURS[Status.ACCEPTED]))
        assert np.allclose(layer.get_color(6)[:3], to_rgb(STATUS_COLOURS[Status.PROPOSED]))
        inside, other = layer._slice.image.view[20, 60], layer._slice.image.view[60, 60]
        session.undo()
        assert layer._slice.image.view[20, 60] != inside
        assert other != inside
    finally:
        window.layers.colour_mode = ColourMode.CLASS


def test_a_layer_that_the_user_removed_is_left_alone(window: Window, session: ReviewSession) -> None:
    window.viewer.layers.remove(window.layers.layer(2))
    session.reject((2,))
    session.undo()
    assert window.layers.layer(2) is None
    window.open()
    assert window.layers.layer(2) is not None, "the next image has it again"


def test_an_image_without_cells_can_be_annotated_from_nothing(window: Window) -> None:
    session = window.open(ReviewSession(SIZE, CLASSES))
    window.layers.activate(4)
    stroke(window.layers.layer(4), [(50, 50), (50, 60)], 9)
    window.review.draw_new()
    stroke(window.layers.layer(4), [(90, 90)], 9)
    window.layers.layer(4).mode = "pan_zoom"
    assert [cell.class_id for cell in session.cells.values()] == [4, 4]
    assert [cell.status for cell in session.cells.values()] == [Status.EDITED] * 2


def test_layers_come_one_a_turn_of_the_event_loop_and_are_used_again(window: Window) -> None:
    window.open()
    kept = list(window.layers)
    session = make_session()
    window.state.set_current(None, None, None)
    assert list(window.layers) == []
    assert not any(layer.visible for layer in kept)
    window.state.set_current(None, None, session)
    seen = set()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pump()
        seen.add(len(list(window.layers)))
        if len(list(window.layers)) == len(CLASSES):
            break
    assert seen & {1, 2, 3}  # not all in one turn; a busy machine may take two turns in one `pump`
    assert 4 in seen
    assert list(window.layers) == kept
    assert all(layer.visible for layer in kept)
    assert [np.array_equal(layer.data, session.view(layer.class_id)) for layer in kept] == [True] * 4


def test_classes_that_get_fewer_before_their_layers_are_there_get_no_layer(window: Window) -> None:
    window.open(ReviewSession(SIZE, CLASSES))
    session = ReviewSession(SIZE, CLASSES)
    window.state.set_current(window.state.file, window.state.image, session)
    window.state.set_classes(ClassTable(("nucleus",)))
    window.layers.finish()
    assert [layer.name for layer in window.layers] == ["nucleus"]
    assert session.classes.names == ("nucleus",)


def test_a_smaller_image_takes_the_place_of_a_larger_one(window: Window) -> None:
    window.open()
    small = ReviewSession(
        (30, 40),
        CLASSES,
        (Cell(cell_id=1, class_id=2, score=0.5, status=Status.PROPOSED, box=(5, 5, 25, 25), mask=disk(20)),),
    )
    window.open(small)
    assert [layer.data.shape for layer in window.layers] == [(30, 40)] * 4
    small.reject((1,))
    assert not window.layers.layer(2).data.any()


def test_what_is_drawn_in_squares_is_what_would_be_drawn_as_a_whole(window: Window, session: ReviewSession) -> None:
    def screenshot(*, whole: bool) -> Any:
        for layer in window.layers:
            node = window.viewer.window._qt_viewer.canvas.layer_to_visual[layer].node
            if whole:
                type(node)._build_vertex_data(node)
            else:
                node._build_vertex_data()
        return window.viewer.screenshot(canvas_only=True, flash=False)

    def drawn() -> Any:
        """Return the picture drawn in squares, once nothing else changes it; drawn as a whole it must be the same."""
        # The middle of a screen pixel must not be on the edge of an image pixel: either may be drawn there.
        camera = camera_of(window.viewer)
        camera.zoom, camera.center = 4.37, (0, 80.29, 120.29)
        for _ in range(20):
            in_squares, whole, again = (screenshot(whole=how) for how in (False, True, False))
            if np.array_equal(in_squares, again):  # on a busy machine napari may still have something to draw
                assert np.array_equal(in_squares, whole)
                return in_squares
            pump(0.1)
        raise AssertionError("the picture never came to rest")

    empty = ReviewSession(SIZE, CLASSES)
    for shown in (session, empty):
        window.open(shown)
        pump(0.1)
        drawn()
        window.layers.activate(1)
        window.layers.settle()
        window.review.draw_new()
        stroke(window.layers.layer(1), [(75, 110), (80, 130)], 9)  # over squares that were empty
        after = drawn()
        shown.undo()
        assert not np.array_equal(drawn(), after)

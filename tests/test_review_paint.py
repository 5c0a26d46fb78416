"""Strokes of brush, fill, polygon and eraser on the view of a class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_actions import CLASSES, SIZE, disc, some_cells

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import ReviewSession, Status, cells_from

BOX = (0, 0, 60, 50)


@pytest.fixture
def session() -> ReviewSession:
    """Two overlapping discs of class 1, the second on top."""
    cells = InstanceMasks.from_crops(SIZE, [(10, 10), (20, 10)], [disc(8)] * 2, [1, 1], [0.4, 0.9])
    return ReviewSession(SIZE, CLASSES, cells_from(cells, Status.PROPOSED, "model", 0.0))


def stroke(session: ReviewSession, rows: slice, columns: slice, value: int, class_id: int = 1):
    before = session.view(class_id, BOX)
    after = before.copy()
    after[rows, columns] = value
    return session.paint(class_id, BOX, before, after), after


def test_a_brush_adds_to_the_cell_whose_id_is_painted(session):
    change, after = stroke(session, slice(25, 35), slice(14, 18), 1)
    assert change.text == "paint #1"
    assert session.cells[1].status is Status.EDITED
    assert session.cells[1].box == (10, 10, 27, 35)
    assert np.array_equal(session.view(1, BOX), after)


def test_painting_over_another_cell_takes_the_pixels_from_it(session):
    change, after = stroke(session, slice(16, 20), slice(0, 50), 1)
    assert change.text == "paint 2 cells"
    assert np.array_equal(session.view(1, BOX), after)
    assert not session.cells[2].covers(18, 30)


def test_erasing_shows_background_not_the_cell_beneath(session):
    _, after = stroke(session, slice(18, 19), slice(22, 23), 0)
    assert np.array_equal(session.view(1, BOX), after)
    assert not session.cells[1].covers(18, 22)
    assert not session.cells[2].covers(18, 22)


def test_a_cell_erased_whole_is_deleted(session):
    change, _ = stroke(session, slice(0, 50), slice(0, 60), 0)
    assert change.text == "erase 2 cells"
    assert not session.cells
    session.undo()
    assert len(session.cells) == 2


def test_painting_with_the_next_id_draws_a_cell_with_that_id(session):
    wanted = session.next_id
    change, after = stroke(session, slice(40, 45), slice(40, 50), wanted)
    assert change.text == f"draw #{wanted}"
    cell = session.cells[wanted]
    assert (cell.area, cell.score, cell.status) == (50, 1.0, Status.EDITED)
    assert np.array_equal(session.view(1, BOX), after)


def test_any_unknown_value_draws_a_cell_with_the_next_id(session):
    wanted = session.next_id
    stroke(session, slice(40, 45), slice(40, 50), 7777)
    assert session.cells[wanted].area == 50


def test_the_id_of_a_cell_of_another_class_draws_a_new_cell_here(session):
    session.add(2, (40, 30, 57, 47), disc(8))
    stroke(session, slice(0, 5), slice(0, 5), 3)
    assert session.cells[3].class_id == 2
    assert session.cells[4].class_id == 1


def test_the_id_of_a_rejected_cell_draws_a_new_one(session):
    session.reject([1])
    stroke(session, slice(40, 45), slice(0, 5), 1)
    assert session.cells[1].status is Status.REJECTED
    assert session.cells[3].area == 25


def test_other_classes_keep_their_pixels(session):
    session.add(2, (10, 10, 27, 27), disc(8))
    stroke(session, slice(0, 50), slice(0, 60), 0)
    assert session.cells[3].area == disc(8).sum()


def test_rejected_and_hidden_cells_are_not_painted(session):
    session.reject([1])
    session.set_min_scores({1: 0.95})
    stroke(session, slice(0, 50), slice(0, 60), 0)
    stroke(session, slice(10, 20), slice(0, 60), 5)
    assert session.cells[1].area == session.cells[2].area == disc(8).sum()


def test_an_eraser_that_cuts_a_cell_in_two_leaves_it_one(session):
    session.reject([2])
    stroke(session, slice(0, 50), slice(17, 19), 0)
    assert session.cells[1].area == disc(8).sum() - disc(8)[:, 7:9].sum()
    session.split_by_seeds(1, [(18, 13), (18, 23)])
    assert len(session.cells) == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_what_is_painted_is_what_is_seen(seed):
    rng = np.random.default_rng(seed)
    session = ReviewSession(SIZE, CLASSES, cells_from(some_cells(60, seed), Status.PROPOSED, "model", 0.0))
    for _ in range(10):
        class_id = int(rng.integers(1, 4))
        x, y = int(rng.integers(0, SIZE[1] - 40)), int(rng.integers(0, SIZE[0] - 40))
        box = (x, y, x + 40, y + 40)
        before = session.view(class_id, box)
        value = int(rng.choice([0, session.next_id, *np.unique(before)]))
        after = before.copy()
        after[rng.random(after.shape) < 0.3] = value
        rest = {i: session.view(i) for i in CLASSES.class_ids if i != class_id}
        session.paint(class_id, box, before, after)
        assert np.array_equal(session.view(class_id, box), after)
        assert all(np.array_equal(session.view(i), view) for i, view in rest.items())
        assert all(
            cell.mask.any(0)[[0, -1]].all() and cell.mask.any(1)[[0, -1]].all() for cell in session.cells.values()
        )

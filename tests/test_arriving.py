"""Cells of a running prediction: reviewed while they arrive, one undo step, and no decision is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_actions import CLASSES, SIZE, act, some_cells
from test_review_undo import new_session, redo_all, same, undo_all

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.review import ArrivingCells, ReviewSession, Status
from napari_cellseg.review.arriving import touches
from napari_cellseg.review.cells import Box

FOUND = InstanceMasks.from_crops(
    SIZE,
    [[x, y] for y in range(5, 150, 30) for x in range(5, 190, 30)],
    [np.ones((14, 16), bool)] * 35,
    [1 + i % 3 for i in range(35)],
    np.linspace(0.9, 0.3, 35, dtype=np.float32),
)
TILES: list[Box] = [(0, 0, 115, 160), (90, 0, 200, 160)]
LEFT = FOUND.select(FOUND.boxes[:, 2] <= 115)
SETTLED = LEFT.select(~touches(LEFT.boxes, TILES[1:]))


@pytest.fixture
def session() -> ReviewSession:
    return ReviewSession(SIZE, CLASSES, user="ana", clock=lambda: 1.0)


def test_cells_keep_their_ids_as_more_arrive_and_undo_removes_all_of_them_together(session: ReviewSession) -> None:
    arriving = ArrivingCells(session, "lite")
    arriving.show(SETTLED, TILES[1:])
    first = dict(session.cells)
    assert len(first) == len(SETTLED)
    arriving.show(FOUND)
    assert len(session.cells) == len(FOUND)
    assert all(session.cells[i] is cell for i, cell in first.items())
    assert session.undo_text == "35 proposals from lite"
    session.undo()
    assert not session.cells
    assert session.undo_text is None
    assert arriving.is_undone
    session.redo()
    assert len(session.cells) == len(FOUND)
    assert not arriving.is_undone


def test_decisions_made_meanwhile_stay_and_are_undone_one_by_one(session: ReviewSession) -> None:
    arriving = ArrivingCells(session, "lite")
    arriving.show(SETTLED, TILES[1:])
    ids = sorted(session.cells)
    session.accept(ids[:1])
    session.reject(ids[1:2])
    session.reclassify(ids[2:3], 1 + session.cells[ids[2]].class_id % 3)
    decided = [session.cells[i] for i in ids[:3]]
    arriving.show(FOUND)
    assert [session.cells[i] for i in ids[:3]] == decided
    assert len(session.cells) == len(FOUND), "no cell is proposed again"
    assert [session.undo_text for _ in range(4) if session.undo_text and session.undo()][:3]
    assert not session.cells
    redo_all(session)
    assert [session.cells[i] for i in ids[:3]] == decided
    assert len(session.cells) == len(FOUND)


def test_a_decision_about_a_cell_that_the_end_result_has_otherwise_stays(session: ReviewSession) -> None:
    """A chain of overlapping cells at a seam may still change a cell that was shown."""
    arriving = ArrivingCells(session, "lite")
    arriving.show(SETTLED, TILES[1:])
    first, second = sorted(session.cells)[:2]
    session.accept([first])
    other = InstanceMasks.from_crops(
        SIZE, FOUND.boxes[:, :2] + 2, [np.ones((13, 16), bool)] * len(FOUND), FOUND.class_ids, FOUND.scores
    )
    arriving.show(other)
    assert session.cells[first].status is Status.ACCEPTED
    assert second not in session.cells, "an undecided cell is replaced"
    instances = session.instances()
    i, j, _ = intersections(instances, instances)
    assert (i == j).all(), "no cell lies twice"


def test_a_decision_that_was_undone_can_be_redone_after_more_cells_arrived(session: ReviewSession) -> None:
    arriving = ArrivingCells(session, "lite")
    arriving.show(SETTLED, TILES[1:])
    first = min(session.cells)
    session.reject([first])
    session.undo()
    arriving.show(FOUND.select(np.arange(len(FOUND)) > 0))  # the end result lacks the first cell
    assert session.cells[first].status is Status.PROPOSED
    session.redo()
    assert session.cells[first].status is Status.REJECTED


def test_earlier_proposals_stay_where_the_model_has_not_been(session: ReviewSession) -> None:
    session.load_proposals(FOUND, "old model")
    old = set(session.cells)
    arriving = ArrivingCells(session, "lite")
    arriving.show(SETTLED, TILES[1:])
    by = [cell.by for cell in session.cells.values()]
    assert by.count("lite") == len(SETTLED)
    assert by.count("old model") == len(FOUND) - len(SETTLED)
    arriving.show(LEFT, TILES[1:])  # as after Stop, with the cells at the edge of the finished tiles
    assert [cell.by for cell in session.cells.values()].count("old model") == len(FOUND) - len(LEFT)
    session.undo()
    assert set(session.cells) == old
    session.redo()
    arriving.show(FOUND)
    assert {cell.by for cell in session.cells.values()} == {"lite"}


def test_a_saved_state_is_no_longer_the_present_one_when_cells_arrive_below_a_decision(session: ReviewSession) -> None:
    arriving = ArrivingCells(session, "lite")
    arriving.show(SETTLED, TILES[1:])
    session.accept([1])
    saved = session.state
    session.undo()
    arriving.show(LEFT, TILES[1:])
    session.redo()
    assert session.state is not saved
    saved = session.state
    arriving.show(FOUND)
    assert session.state is not saved


def test_cells_of_another_size_are_refused(session: ReviewSession) -> None:
    with pytest.raises(AnnotationError, match="160, 200"):
        ArrivingCells(session, "lite").show(InstanceMasks.empty((10, 10)))


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10**6))
def test_random_actions_while_cells_arrive_are_undone_and_redone_exactly(seed: int) -> None:
    session = new_session(seed, undo_bytes=2**40)
    start, rng = dict(session.cells), np.random.default_rng(seed)
    arriving = ArrivingCells(session, "lite")
    found = some_cells(60, seed + 1)
    for count in range(5, 61, 5):
        arriving.show(found.select(np.arange(60) < count), [(100, 0, 200, 160)])
        for _ in range(20):
            act(session, rng)
        if arriving.is_undone:
            session.redo()
    redo_all(session)
    end = dict(session.cells)
    undo_all(session)
    assert same(session.cells, start)
    redo_all(session)
    assert same(session.cells, end)

"""One undo stack: undo and redo of everything are exact, and the reported changes are complete."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from review_actions import CLASSES, SIZE, act, disc, some_cells

from napari_cellseg.review import Author, Cell, Change, ChangeKind, ReviewSession, Status, cells_from


def new_session(seed: int = 0, **options) -> ReviewSession:
    ticks = iter(range(10**9))
    cells = cells_from(some_cells(40, seed), Status.PROPOSED, "model", 0.0)
    return ReviewSession(SIZE, CLASSES, cells, user="ana", clock=lambda: float(next(ticks)), **options)


def same(first: Mapping[int, Cell], second: Mapping[int, Cell]) -> bool:
    return first.keys() == second.keys() and all(cell.equals(second[i]) for i, cell in first.items())


def undo_all(session: ReviewSession) -> None:
    while session.undo():
        pass


def redo_all(session: ReviewSession) -> None:
    while session.redo():
        pass


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10**6))
def test_a_thousand_random_operations_are_undone_and_redone_exactly(seed):
    session = new_session(seed, undo_bytes=2**40)
    rng = np.random.default_rng(seed)
    start = dict(session.cells)
    for _ in range(1000):
        act(session, rng)
    redo_all(session)
    end = dict(session.cells)
    views = {class_id: session.view(class_id) for class_id in CLASSES.class_ids}
    undo_all(session)
    assert same(session.cells, start)
    redo_all(session)
    assert same(session.cells, end)
    assert all(np.array_equal(session.view(class_id), view) for class_id, view in views.items())


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6))
def test_a_layer_that_rewrites_only_the_boxes_told_shows_what_a_full_view_shows(seed):
    session = new_session(seed)
    layers = {class_id: session.view(class_id) for class_id in CLASSES.class_ids}

    def rewrite(change: Change) -> None:
        for class_id, (x0, y0, x1, y1) in change.boxes.items():
            layers[class_id][y0:y1, x0:x1] = session.view(class_id, (x0, y0, x1, y1))

    session.subscribe(rewrite)
    rng = np.random.default_rng(seed)
    for step in range(200):
        act(session, rng)
        if step % 20 == 0:
            assert all(np.array_equal(layer, session.view(class_id)) for class_id, layer in layers.items())
    assert all(np.array_equal(layer, session.view(class_id)) for class_id, layer in layers.items())


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6))
def test_counts_and_places_kept_along_the_way_are_those_counted_anew(seed):
    session = new_session(seed)
    rng = np.random.default_rng(seed)
    for _ in range(200):
        act(session, rng)
    shown = [cell for cell in session.cells.values() if session.is_visible(cell)]
    for class_id in CLASSES.class_ids:
        for status in set(Status) - {Status.REJECTED}:
            wanted = sum(cell.class_id == class_id and cell.status is status for cell in shown)
            assert session.count(class_id, (status,)) == wanted
        everywhere = (0, 0, SIZE[1], SIZE[0])
        assert {cell.cell_id for cell in session.near(class_id, everywhere)} == {
            cell.cell_id for cell in shown if cell.class_id == class_id
        }
        view = session.view(class_id)
        for y, x in rng.integers(0, SIZE, (50, 2)).tolist():
            top = session.cell_at(class_id, y, x)
            assert (0 if top is None else top.cell_id) == view[y, x]


def test_a_stroke_a_merge_a_split_and_a_new_class_interleaved_come_back_one_by_one():
    session = ReviewSession(SIZE, CLASSES, user="ana")
    session.add(1, (10, 10, 31, 31), disc(10))
    session.add(1, (28, 10, 49, 31), disc(10))
    session.add(2, (10, 60, 31, 81), disc(10))
    states = [dict(session.cells)]
    box = (0, 0, 60, 40)
    stroke = session.view(1, box)
    stroke[18:22, :40] = 1
    for command in (
        lambda: session.paint(1, box, session.view(1, box), stroke),
        lambda: session.split_by_line(3, [(55, 20), (85, 20)]),
        lambda: session.merge([1, 2]),
        lambda: session.reclassify([3, 4], 3),
    ):
        assert command()
        states.append(dict(session.cells))
    texts = ["reclassify 2 cells to epithelial", "merge #1 + #2", "split #3", "paint 2 cells"]
    for text, state in zip(texts, states[-2::-1], strict=True):
        assert session.undo_text == text
        assert session.undo().kind is ChangeKind.UNDO
        assert session.redo_text == text
        assert same(session.cells, state)


def test_what_is_undone_cannot_be_redone_after_another_command():
    session = new_session()
    session.accept([1])
    session.undo()
    session.reject([1])
    assert session.redo_text is None
    assert not session.redo()
    assert session.cells[1].status is Status.REJECTED


def test_the_stack_forgets_the_oldest_when_it_is_full_and_keeps_the_newest_whatever_its_size():
    session = new_session(undo_bytes=3000)
    for _ in range(50):
        session.accept([1])
        session.set_status([1], Status.PROPOSED)
    assert session.history.size <= 3000
    undone = 0
    while session.undo():
        undone += 1
    assert 0 < undone < 100
    session.load_proposals(some_cells(200, 1))
    assert session.history.size > 3000
    assert session.undo()


def test_the_state_is_the_same_object_only_where_undo_leads_back():
    session = new_session()
    start = session.state
    session.accept([1])
    one = session.state
    session.accept([2])
    assert len({id(state) for state in (start, one, session.state)}) == 3
    session.undo()
    assert session.state is one
    session.undo()
    assert session.state is start
    session.redo()
    assert session.state is one


def test_the_start_is_not_reached_by_undo_once_its_commands_are_forgotten():
    session = new_session(undo_bytes=1000)
    start = session.state
    for cell_id in range(1, 20):
        session.accept([cell_id])
    undo_all(session)
    assert session.state is not start


def test_a_command_that_changes_nothing_is_not_put_on_the_stack():
    session = new_session()
    told = []
    session.subscribe(told.append)
    session.accept([1])
    assert not session.accept([1])
    assert not session.do(Author.fill_holes, [1, 2])
    assert not session.reclassify([1], session.cells[1].class_id)
    box = (0, 0, 50, 50)
    assert not session.paint(1, box, session.view(1, box), session.view(1, box))
    assert len(told) == 1
    session.undo()
    assert session.undo_text is None

"""The order that is learned from the decisions, and the cells that are like the rejected ones, in a real window."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from napari_cellseg.review import QueueOrder, ReviewSession, Status
from tests.review_window import CLASSES, Window, disk, make_session, pump

pytestmark = pytest.mark.gui

SIZE = (320, 400)


def is_pale(cell_id: int) -> bool:
    return cell_id % 3 == 1


@pytest.fixture(autouse=True)
def _nothing_learned(window: Window) -> None:
    """Close the folder: what was learned in it is forgotten."""
    window.state.set_workspace(None, ())


def open_cells(window: Window) -> ReviewSession:
    """Open 80 cells of one size, every third of them pale, with scores that say nothing about it."""
    first = make_session().cells[1]
    scores = np.random.default_rng(0).uniform(0.3, 0.95, 80).tolist()
    rgb = np.random.default_rng(1).integers(215, 230, (*SIZE, 3), np.uint8)
    cells = []
    for i in range(80):
        x, y = 10 + 40 * (i % 10), 8 + 40 * (i // 10)
        rgb[y : y + 20, x : x + 20] -= np.uint8((15 if is_pale(i + 1) else 110) * disk(20)[..., None])
        box = (x, y, x + 20, y + 20)
        cells.append(replace(first, cell_id=i + 1, class_id=1, score=scores[i], box=box))
    return window.open(ReviewSession(SIZE, CLASSES, cells), rgb)


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not until() and time.monotonic() < end:
        pump(0.05)
    assert until()


def review(window: Window, decisions: int) -> None:
    """Reject pale cells and accept the others, by keys."""
    window.press("N")
    for _ in range(decisions):
        (cell_id,) = window.state.selection
        window.press("R" if is_pale(cell_id) else "A")
    wait(lambda: not window.review.queue._learn_turn.isActive())
    window.dock("Review").refresh()


def click(widget) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    QTest.mouseClick(widget, Qt.LeftButton)
    pump()


def test_the_learned_order_puts_what_is_changed_first_and_says_why(window: Window) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    open_cells(window)
    dock = window.dock("Review")
    dock._order.setFocus()
    QTest.keyClick(dock._order, Qt.Key_End)
    assert window.review.queue.order is QueueOrder.LEARNED
    dock.refresh()
    assert dock._hint.text() == "Worst first: 0 of the 30 decisions that it takes to learn."
    review(window, 33)
    assert dock._hint.text() == "Learned from 33 decisions."
    items = [dock.queue_model.item(row) for row in range(47)]
    pale = [is_pale(item.cell_id) for item in items]
    assert pale == sorted(pale, reverse=True), "all pale cells come first"
    assert any(pale)
    assert "likely to be changed: " in items[0].text
    assert "pale" in items[0].text
    window.press("Control-Z")
    wait(lambda: dock._hint.text() == "Learned from 32 decisions.")


def test_cells_like_the_rejected_ones_are_rejected_on_one_page_with_one_undo(window: Window) -> None:
    session = open_cells(window)
    dock = window.dock("Review")
    dock.refresh()
    assert not dock.alike.isEnabled()
    assert dock.alike.toolTip() == "0 of the 30 decisions that it takes to learn."
    review(window, 45)
    left = {i for i, cell in session.cells.items() if cell.status is Status.PROPOSED and is_pale(i)}
    assert dock.alike.isEnabled()
    assert dock.alike.text() == f"{len(left)} like rejected"
    assert "70 % or more likely to be rejected" in dock.alike.toolTip()
    click(dock.alike)
    gallery = window.dock("Gallery")
    shown = {gallery.model.cell_id(gallery.model.index(row)) for row in range(gallery.model.rowCount())}
    assert shown == left
    assert gallery._only_text.text() == f"{len(left)} more like the ones you rejected"
    kept = min(left)
    window.review.show_cell(kept)
    window.press("A")
    pump(0.3)
    assert gallery.reject_only.text() == f"Reject all {len(left) - 1}"
    click(gallery.reject_only)
    assert all(session.cells[i].status is Status.REJECTED for i in left - {kept})
    assert session.cells[kept].status is Status.ACCEPTED
    assert not gallery.reject_only.isEnabled()
    window.press("Control-Z")
    assert all(session.cells[i].status is Status.PROPOSED for i in left - {kept})
    click(gallery._show_all)
    assert gallery.model.count == session.progress.total - session.count(statuses=(Status.REJECTED,))
    assert not gallery.only_row.isVisible()


def test_another_image_leaves_the_page_and_keeps_what_was_learned(window: Window) -> None:
    open_cells(window)
    dock = window.dock("Review")
    review(window, 45)
    click(dock.alike)
    gallery = window.dock("Gallery")
    assert gallery.only_row.isVisible()
    other = open_cells(window)
    assert not gallery.only_row.isVisible()
    assert gallery.model.count == 80
    dock.refresh()
    assert dock.alike.text() == f"{sum(map(is_pale, other.cells))} like rejected"


def test_cells_hidden_by_a_minimum_score_are_not_offered(window: Window) -> None:
    session = open_cells(window)
    dock = window.dock("Review")
    review(window, 45)
    alike = window.review.queue.rejected_alike
    scores = sorted(session.cells[i].score for i in alike)
    assert len(alike) >= 2
    window.state.set_min_scores({1: scores[-1]})
    dock.refresh()
    assert dock.alike.text() == "1 like rejected"
    click(dock.alike)
    gallery = window.dock("Gallery")
    assert gallery.model.count == 1
    assert gallery.reject_only.text() == "Reject 1"
    window.state.set_min_scores({})
    dock.refresh()
    assert dock.alike.text() == f"{len(alike)} like rejected"

"""The list of steps: in words, newest first; a click goes to the state after a step, the journal stays exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_actions import CLASSES, SIZE, act, some_cells
from review_window import Window, pump, wait_until

from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace import Sessions


def cells_of(session: ReviewSession) -> dict[int, Any]:
    return dict(session.cells)


def same(first: dict[int, Any], second: dict[int, Any]) -> bool:
    return first.keys() == second.keys() and all(cell.equals(second[i]) for i, cell in first.items())


def test_every_step_can_be_gone_to_from_every_other(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    rng = np.random.default_rng(0)
    with Sessions.of_folder(tmp_path, user="ana") as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        states = [cells_of(session)]
        session.load_proposals(some_cells(30, 0))
        states.append(cells_of(session))
        while len(states) < 30:
            before = len(session.steps[0])
            act(session, rng)
            while session.redo():
                pass
            if len(session.steps[0]) > before:
                states.append(cells_of(session))
        assert len(session.steps[0]) == len(states) - 1
        here = len(states) - 1
        for place in rng.integers(0, len(states), 25).tolist():
            session.go_by(place - here)
            here = place
            assert same(session.cells, states[place])
            assert [len(texts) for texts in session.steps] == [place, len(states) - 1 - place]
    with Sessions.of_folder(tmp_path, user="ana") as workspace:  # the journal, as after a kill
        assert same(workspace.open_session("a", SIZE, CLASSES, recover=True).cells, states[here])


def test_steps_beyond_the_ends_are_not_gone() -> None:
    session = ReviewSession(SIZE, CLASSES, user="ana")
    session.load_proposals(some_cells(5, 0))
    session.accept([1])
    assert session.go_by(-9).text == "5 proposals from model"
    assert not session.cells
    assert session.steps == ((), ("5 proposals from model", "accept #1"))
    assert session.go_by(9).text == "accept #1"
    assert not session.go_by(1)
    assert not session.go_by(0)


def rows(dock: Any) -> list[str]:
    return [dock.step_list.item(row).text() for row in range(dock.step_list.count())]


def click_row(dock: Any, text: str) -> None:
    listed = dock.step_list
    (item,) = listed.findItems(text, Qt.MatchExactly)
    QTest.mouseClick(listed.viewport(), Qt.LeftButton, Qt.NoModifier, listed.visualItemRect(item).center())
    wait_until(lambda: not listed.isVisible())


def open_list(dock: Any) -> None:
    dock.refresh()
    QTest.mouseClick(dock._steps, Qt.LeftButton)
    wait_until(dock.step_list.isVisible)


@pytest.mark.gui
def test_a_click_in_the_list_goes_back_and_forward(window: Window) -> None:
    session = window.open()
    dock = window.dock("Review")
    dock.refresh()
    assert not dock._steps.isEnabled()
    assert dock._steps.toolTip() == "Nothing was changed yet."
    session.reclassify((7,), 1)
    session.accept((2, 3))
    session.reject((5,))

    open_list(dock)
    assert rows(dock) == ["Reject #5", "Accept 2 cells", "Reclassify #7 to other", "Before all of these steps"]
    assert dock.step_list.currentRow() == 0
    click_row(dock, "Reclassify #7 to other")
    assert session.steps == (("reclassify #7 to other",), ("accept 2 cells", "reject #5"))
    assert window.viewer.status == "Undone: 2 steps, the last one: accept 2 cells"
    assert window.state.selection == (2, 3)

    open_list(dock)
    assert rows(dock)[2] == "Reclassify #7 to other"
    assert dock.step_list.currentRow() == 2
    colours = [dock.step_list.item(row).foreground().color().alpha() for row in range(4)]
    assert colours[0] == colours[1] < 255
    assert [dock.step_list.item(row).toolTip().splitlines()[1] for row in (0, 2, 3)] == [
        "Redo 2 steps",
        "The present state",
        "Undo 1 step",
    ]
    click_row(dock, "Reject #5")
    assert not session.steps[1]
    assert not session.is_visible(session.cells[5])

    open_list(dock)
    QTest.keyClick(dock.step_list, Qt.Key_End)
    QTest.keyClick(dock.step_list, Qt.Key_Return)
    wait_until(lambda: not dock.step_list.isVisible())
    assert not session.steps[0]
    assert session.progress.reviewed == 0


@pytest.mark.gui
def test_escape_closes_the_list_and_changes_nothing(window: Window) -> None:
    session = window.open()
    dock = window.dock("Review")
    session.accept((2,))
    open_list(dock)
    QTest.keyClick(dock.step_list, Qt.Key_Escape)
    wait_until(lambda: not dock.step_list.isVisible())
    pump()
    assert session.steps == (("accept #2",), ())

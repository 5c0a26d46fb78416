"""Notes and flags in the window, with real keys: on cells and on the image, in the queue, the table and the steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from review_window import Window, pump, wait_until

from napari_cellseg.gui.canvas.features import cell_line
from napari_cellseg.gui.review.notes import NoteField
from napari_cellseg.review import ReviewSession, Status
from napari_cellseg.review.queue import QueueContent

pytestmark = pytest.mark.gui


@pytest.fixture
def session(window: Window) -> Iterator[ReviewSession]:
    yield window.open_focused()
    window.review.queue.choose(None, window.review.queue.order)


def open_field(window: Window) -> NoteField:
    QTest.keyClick(window.canvas, Qt.Key_I)
    field = window.review.notes.field
    assert field is not None
    wait_until(field.isVisible)
    return field


def write(window: Window, text: str, end: Any = Qt.Key_Return) -> None:
    field = open_field(window)
    QTest.keyClicks(field.line, text)
    QTest.keyClick(field.line, end)
    pump()


def test_a_note_is_typed_and_seen_on_the_cell_in_the_dock_and_the_list_of_steps(
    window: Window, session: ReviewSession
) -> None:
    dock = window.dock("Review")
    window.state.select((7,))
    write(window, "two cells?")
    assert session.cells[7].note == "two cells?"
    assert session.cells[7].status is Status.PROPOSED
    assert window.state.selection == (7,)
    assert cell_line(session, 7).endswith("proposed  two cells?")
    dock.refresh()
    assert dock._note.text() == "#7: two cells?"
    QTest.keyClick(window.canvas, Qt.Key_U)
    assert session.cells[7].unsure
    dock.refresh()
    assert dock.buttons["unsure"].isChecked()
    assert session.steps[0] == ("flag #7 as unsure", "note on #7")
    QTest.keyClick(window.canvas, Qt.Key_U)
    assert not session.cells[7].unsure

    field = open_field(window)
    assert field.line.text() == "two cells?"
    QTest.keyClicks(field.line, "no")
    QTest.keyClick(field.line, Qt.Key_Escape)
    wait_until(lambda: not field.isVisible())
    assert session.cells[7].note == "two cells?", "Escape drops the text"


def test_without_a_cell_the_note_is_on_the_image_and_undo_takes_it_back(window: Window, session: ReviewSession) -> None:
    dock = window.dock("Review")
    window.state.select(())
    QTest.keyClick(window.canvas, Qt.Key_U)
    assert session.about.unsure
    assert window.viewer.status == "The image: flagged as unsure."
    field = open_field(window)
    QTest.keyClicks(field.line, "blurred corner")
    field.hide()  # as a click elsewhere does
    pump()
    assert session.about.note == "blurred corner"
    dock.refresh()
    assert dock._note.text() == "The image: blurred corner"
    window.press("Control-Z")
    window.press("Control-Z")
    assert not session.about
    assert window.viewer.status == "Undone: flag the image as unsure"
    dock.refresh()
    assert dock._note.text() == "No note"


def test_flagged_cells_are_a_queue_of_their_own_and_no_other_cell_is_accepted_in_it(
    window: Window, session: ReviewSession
) -> None:
    dock = window.dock("Review")
    window.state.select((2, 3))
    QTest.keyClick(window.canvas, Qt.Key_U)
    dock.refresh()
    wait_until(dock._content.isVisible)
    dock._content.setFocus()
    while dock._content.currentData() is not QueueContent.FLAGGED:
        QTest.keyClick(dock._content, Qt.Key_Down)
    dock.refresh()
    assert [dock.queue_model.item(row).cell_id for row in range(dock.queue_model.rowCount())] == [2, 3]
    assert "unsure" in dock.queue_model.texts(0)[3]
    window.canvas.setFocus()
    window.state.select(())
    QTest.keyClick(window.canvas, Qt.Key_N)
    QTest.keyClick(window.canvas, Qt.Key_A)
    assert session.cells[2].status is Status.ACCEPTED
    assert window.state.selection == (3,)
    QTest.keyClick(window.canvas, Qt.Key_A, Qt.ShiftModifier)
    assert session.progress.reviewed == 2, "Shift+A accepts what the queue holds"
    window.state.select((2, 3))
    QTest.keyClick(window.canvas, Qt.Key_U)
    dock.refresh()
    assert dock._hint.text() == "No cell of this image has a note or flag."
    dock._content.setFocus()
    QTest.keyClick(dock._content, Qt.Key_Home)


def test_the_table_shows_and_filters_notes(window: Window, session: ReviewSession) -> None:
    table = window.dock("Table")
    table.show_cells()
    window.state.select((4,))
    window.review.notes._write(session, (4,), "dividing")
    assert table.model.shown_columns()["note"][table.model.row_of(4)] == "dividing"
    table.filter_text.setText("divid")
    assert table.model.rowCount() == 1
    table.filter_text.setText("")

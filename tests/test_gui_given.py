"""Labels on disk in the window: given, not reviewed, and checked like proposed cells."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from napari_cellseg.classes import ClassTable
from napari_cellseg.review import QueueContent, ReviewSession, Status
from tests.review_window import CLASSES, SIZE, Window, make_session

pytestmark = pytest.mark.gui


def given_session() -> ReviewSession:
    cells = [
        replace(cell, status=Status.GIVEN, label_value=cell.cell_id, by="class*.tif")
        for cell in make_session().cells.values()
    ]
    return ReviewSession(SIZE, CLASSES, cells, user="tester", clock=lambda: 1.0)


def choose(dock: Any, text: str) -> None:
    """Choose what the queue holds with the keyboard."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    box = dock._content
    assert box.isVisible()
    box.setFocus()
    while box.currentText() != text:
        QTest.keyClick(box, Qt.Key_Down)
    dock.refresh()


def choose_first(dock: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    dock._content.setFocus()
    QTest.keyClick(dock._content, Qt.Key_Home)
    dock.refresh()


def test_given_labels_are_not_called_reviewed_and_can_be_checked(window: Window) -> None:
    dock = window.dock("Review")
    session = window.open(given_session())
    dock.refresh()
    assert dock.counts.text() == "20 given, 0 / 20"
    assert dock.queue_model.rowCount() == 0
    dock.refresh()
    assert dock._hint.text() == "20 given labels not reviewed. Choose 'given labels' above to check them."

    choose(dock, QueueContent.GIVEN.value)
    assert dock.queue_model.rowCount() == 20
    assert not dock._hint.isVisible()
    window.press("N")
    (first,) = window.state.selection
    window.press("A")
    assert session.cells[first].status is Status.ACCEPTED
    assert window.state.selection not in ((), (first,)), "the next given cell"
    dock.refresh()
    assert dock.counts.text() == "19 given, 1 / 20"
    if folder := os.environ.get("CELLSEG_SHOTS"):
        window.viewer.window._qt_window.grab().save(f"{folder}/given.png")
    window.press("Shift-A")
    dock.refresh()
    assert session.progress.given == 0
    assert dock._hint.text() == "All cells of this image are decided."
    window.press("Control-Z")
    assert session.progress.given == 19


def test_an_image_without_cells_is_not_called_finished(window: Window) -> None:
    window.dock("Review")
    window.open(ReviewSession(SIZE, CLASSES, user="tester"))
    window.press("N")
    assert window.viewer.status == "This image has no cells yet. Segment it, or draw cells."


def test_the_choice_is_not_shown_where_nothing_is_given(window: Window) -> None:
    dock = window.dock("Review")
    window.open()
    if dock._content.isVisible():  # chosen by another test in this window
        choose_first(dock)
    assert not dock._content.isVisible()


def rows_of_layer_list(window: Window) -> list[str]:
    view = window.viewer.window._qt_viewer.layers
    model = view.model()
    rows = [row for row in range(model.rowCount()) if not view.isRowHidden(row)]
    return [model.index(row, 0).data() for row in rows]


def test_the_layer_list_has_only_the_classes_of_the_open_image(window: Window) -> None:
    window.open()
    assert set(CLASSES.names) <= set(rows_of_layer_list(window))
    window.open(ReviewSession(SIZE, ClassTable(("nucleus",)), user="tester"))
    assert sorted(rows_of_layer_list(window)) == ["nucleus", "tissue"]
    window.open()
    assert sorted(rows_of_layer_list(window)) == sorted([*CLASSES.names, "tissue"])

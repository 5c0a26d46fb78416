"""Reviewing in a real window: keys, mouse, queue and docks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import CellFilter, ReviewSession, Status
from tests.review_window import CLASSES, SIZE, Window, pump

pytestmark = pytest.mark.gui


def click_cell(window: Window, cell_id: int, modifiers: Any = None) -> None:
    """Click the middle of a cell with the real mouse."""
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    x0, y0, x1, y1 = window.state.session.cells[cell_id].box
    at = on_screen(window, (y0 + y1) / 2, (x0 + x1) / 2)
    QTest.mouseClick(window.canvas, Qt.LeftButton, modifiers or Qt.NoModifier, QPoint(*at))
    pump()


def on_screen(window: Window, y: float, x: float) -> tuple[int, int]:
    camera, size = camera_of(window.viewer), window.canvas.size()
    middle_y, middle_x = camera.center[-2:]
    return (
        round(size.width() / 2 + (x - middle_x) * camera.zoom),
        round(size.height() / 2 + (y - middle_y) * camera.zoom),
    )


def test_keys_decide_and_go_on(window: Window, session: ReviewSession) -> None:
    for layer in window.layers:
        window.viewer.layers.selection.active = layer
        window.press("N")
        assert len(window.state.selection) == 1
    first = window.state.selection[0]
    window.press("A")
    assert session.cells[first].status is Status.ACCEPTED
    second = window.state.selection[0]
    assert second != first, "auto-advance"
    window.press("R")
    assert session.cells[second].status is Status.REJECTED
    third = window.state.selection[0]
    window.press("3")
    assert session.cells[third].class_id == 3
    assert session.progress.reviewed == 3 - (session.undo_text is None)
    window.press("Shift-N")
    assert window.state.selection[0] not in (first, second)
    for _ in range(3):
        window.press("Control-Z")
    assert session.progress.reviewed == 0
    assert session.undo_text is None


def test_real_keys_of_the_keyboard_reach_the_session(window: Window, session: ReviewSession) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    def press(key: Any, modifier: Any = Qt.NoModifier) -> None:
        QTest.keyClick(window.canvas, key, modifier)
        pump()

    window.layers.activate(1)
    press(Qt.Key_N)
    (first,) = window.state.selection
    press(Qt.Key_A)
    assert session.cells[first].status is Status.ACCEPTED
    (second,) = window.state.selection
    press(Qt.Key_2 if session.cells[second].class_id != 2 else Qt.Key_3)
    assert session.cells[second].status is Status.EDITED
    press(Qt.Key_K)
    assert window.review.cutting.cell_id is not None
    press(Qt.Key_Escape)
    assert window.review.cutting.cell_id is None
    press(Qt.Key_Z, Qt.ControlModifier)
    press(Qt.Key_Z, Qt.ControlModifier)
    assert session.undo_text is None
    press(Qt.Key_Z, Qt.ControlModifier | Qt.ShiftModifier)
    assert session.cells[first].status is Status.ACCEPTED


def test_every_class_layer_has_the_keys_before_those_of_napari(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    for layer in window.layers:
        bound = {str(key) for key in layer.keymap}
        assert {"A", "R", "N", "Shift+N", "Q", "K", "1", "9", "Ctrl+Z", "Ctrl+Shift+Z", "M"} <= bound


def test_click_selects_and_shift_click_adds(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    from qtpy.QtCore import Qt

    pump(0.2)
    click_cell(window, 7)
    assert window.state.selection == (7,)
    assert window.viewer.layers.selection.active.class_id == 3
    click_cell(window, 8, Qt.ShiftModifier)
    assert window.state.selection == (7, 8)
    click_cell(window, 8, Qt.ShiftModifier)
    assert window.state.selection == (7,)


def test_merge_joins_the_selected_cells(window: Window) -> None:
    session = window.open()
    session.add(1, (30, 35, 38, 43), np.ones((8, 8), bool))
    session.add(1, (38, 35, 46, 43), np.ones((8, 8), bool))
    window.state.select((21, 22))
    window.press("Q")
    assert session.cells[21].area == 128
    assert 22 not in session.cells
    assert window.state.selection == (21,)


def test_split_by_line_and_by_seeds(window: Window, session: ReviewSession) -> None:
    window.review.show_cell(1)
    window.press("K")
    assert window.review.cutting.cell_id == 1
    window.review.cutting.stop()
    window.review.cut_by_line(1, [(5, 20), (35, 20)])
    assert session.undo_text == "split #1"
    assert session.cells[1].area + session.cells[21].area == 316
    session.undo()
    window.review.split()
    window.review.cutting._seeds = [(20, 13), (20, 27)]
    window.press("Enter")
    assert session.undo_text == "split #1"
    assert window.review.cutting.cell_id is None
    window.review.show_cell(1)
    window.press("K")
    window.press("Escape")
    assert window.review.cutting.cell_id is None


def test_what_cannot_be_done_says_why_and_changes_nothing(window: Window, session: ReviewSession) -> None:
    from napari.utils.notifications import notification_manager

    window.state.select(())
    notification_manager.records.clear()
    window.press("A")
    window.press("Q")
    window.press("K")
    texts = [record.message for record in notification_manager.records]
    assert len(texts) == 3
    assert all("Select" in text for text in texts)
    assert session.undo_text is None


def test_review_dock_shows_the_queue_and_bulk_rejects_by_filter(window: Window, session: ReviewSession) -> None:
    dock = window.dock("Review")
    window.state.select(())
    dock.refresh()
    assert dock.queue_model.rowCount() == 20
    assert dock.counts.text() == "0 / 20"
    assert not dock.buttons["accept"].isEnabled()
    assert "Select a cell" in dock.buttons["accept"].toolTip()
    dock.filter_row.score.setValue(0.5)
    dock.refresh()
    low = len(session.find(CellFilter(max_score=0.5)))
    assert dock.filter_row.reject_button.text() == f"Reject {low}"
    dock.filter_row.reject_button.click()
    dock.refresh()
    assert dock.counts.text() == f"{low} / 20"
    assert dock.buttons["undo"].isEnabled()
    dock.buttons["undo"].click()
    dock.refresh()
    assert dock.counts.text() == "0 / 20"
    dock.filter_row.score.setValue(0)
    window.review.next()
    dock.refresh()
    assert dock.buttons["accept"].isEnabled()
    assert dock.queue_list.currentIndex().isValid()
    listed = dock.queue_model.item(dock.queue_list.currentIndex().row())
    assert (listed.cell_id,) == window.state.selection


def test_gallery_pages_rejects_and_reclassifies(window: Window) -> None:
    from napari_cellseg.gui.review.gallery_model import CELL_MIME

    session = window.open()
    gallery = window.dock("Gallery")
    gallery.class_choice.setCurrentIndex(2)
    gallery.arrange()
    assert gallery.model.count == 5
    ids = [gallery.model.cell_id(gallery.model.index(row)) for row in range(gallery.model.rowCount())]
    assert ids == [2, 6, 10, 14, 18], "class 2, lowest score first"
    gallery.toggle_rejected(6)
    assert session.cells[6].status is Status.REJECTED
    assert gallery.model.row_of(6) == 1, "it stays in its place, crossed out"
    gallery.toggle_rejected(6)
    assert session.cells[6].status is Status.PROPOSED
    window.state.select((10,))
    assert [index.row() for index in gallery.view.selectionModel().selectedIndexes()] == [2]
    dragged = gallery.model.mimeData([gallery.model.index(0), gallery.model.index(1)])
    assert bytes(dragged.data(CELL_MIME)) == b"2,6"
    window.review.reclassify(4, [2, 6])
    assert {session.cells[i].class_id for i in (2, 6)} == {4}
    assert session.undo_text == "reclassify 2 cells to spindle-shaped"


def test_table_sorts_filters_copies_and_writes_harmless_csv(window: Window, tmp_path: Path) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication

    session = window.open()
    table = window.dock("Table")
    table.show_cells()
    assert table.model.rowCount() == 20
    table.view.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert [table.model.cell_id(row) for row in range(3)] == [20, 19, 18]
    table.filter_text.setText("epith")
    assert table.model.rowCount() == 5
    window.state.select((3,))
    assert [table.model.cell_id(i.row()) for i in table.view.selectionModel().selectedRows()] == [3]
    table.copy()
    copied = QApplication.clipboard().text().splitlines()
    assert len(copied) == 2
    assert copied[1].startswith("3\tepithelial\t0.36")
    session.accept((7,))
    assert "accepted" in table.model.shown_columns()["status"]
    table.filter_text.setText("")
    table.model.columns["by"][:] = "=2+3"
    table.export(tmp_path / "cells.csv")
    lines = (tmp_path / "cells.csv").read_text("utf-8-sig").splitlines()
    assert len(lines) == 21
    assert all(",'=2+3" in line for line in lines[1:])


def test_the_list_of_keys_names_every_class(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    from qtpy.QtWidgets import QLabel

    from napari_cellseg.gui.review.action_table import REVIEW_ACTIONS
    from napari_cellseg.gui.review.keys import KeysDialog

    dialog = KeysDialog(window.review)
    texts = [label.text() for label in dialog.findChildren(QLabel)]
    assert all(" / ".join(row.keys) in texts for row in REVIEW_ACTIONS if row.keys and not row.id.startswith("class_"))
    assert all(f"Class: {name}" in texts for name in CLASSES.names)


def test_undo_of_a_whole_prediction_says_how_to_get_its_cells_back(window: Window) -> None:
    session = window.open(ReviewSession(SIZE, CLASSES))
    dock = window.dock("Review")
    masks = [np.ones((8, 8), bool)] * 2
    session.load_proposals(InstanceMasks.from_crops(SIZE, [(10, 10), (40, 60)], masks, [1, 2]))
    session.accept([min(session.cells)])
    told = "2 cells of the model removed. Redo (Ctrl+Shift+Z) brings them back."

    window.press("Control-Z")
    assert window.viewer.status == "Undone: accept #1"
    for _ in range(3):  # the key is held
        window.press("Control-Z")
        assert not session.cells
        assert told in window.viewer.status
        dock.refresh()
        assert dock._undo_text.text() == told

    window.press("Control-Shift-Z")
    dock.refresh()
    assert len(session.cells) == 2
    assert dock._undo_text.text() == "Last: 2 proposals from model"
    window.press("Control-Shift-Z")
    window.press("Control-Z")
    assert told not in window.viewer.status

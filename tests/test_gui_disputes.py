"""The queue of disputed cells with real keys and clicks: decisions settle them, and undo opens them again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog
from review_window import Window, focus, pump, wait_until
from two_readers import SIZE, box, two_projects

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import drive
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.review.second_reader import _read
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.review import ReviewSession, Status
from napari_cellseg.review.queue import QueueContent
from napari_cellseg.review.settlement import Outcome
from napari_cellseg.workspace import Sessions, open_project

pytestmark = pytest.mark.gui


@pytest.fixture
def projects(window: Window, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    yield two_projects(tmp_path)
    window.review.queue.choose(None, window.review.queue.order)
    plugin_of(window.viewer).opener.close()
    window.state.set_workspace(None, ())


def open_folder(window: Window, folder: Path) -> ReviewSession:
    opener = plugin_of(window.viewer).opener
    opener.open_path(folder)
    wait_until(lambda: window.state.workspace is not None and window.state.workspace.project.folder == folder)
    wait_until(lambda: window.state.session is not None and not opener.job.is_busy)
    window.layers.finish()
    return window.state.session


def compare(window: Window, other: Path, monkeypatch: pytest.MonkeyPatch, out: Path) -> Any:
    row: Any = window.dock("Export").agreement
    show_dock(window.viewer, "Export")
    window.docks["Export"].folder.setText(str(out))
    pump(0.1)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(other))
    QTest.mouseClick(row.button, Qt.LeftButton)
    wait_until(lambda: not row.job.is_busy and row.disputes_button.isVisible())
    return row


def texts(window: Window) -> dict[str, int]:
    return {item.text: item.cell_id for item in window.review.queue.items(99)}


def begin(window: Window, row: Any) -> None:
    window.dock("Review")
    QTest.mouseClick(row.disputes_button, Qt.LeftButton)
    wait_until(lambda: window.review.queue.disputes is not None)
    focus(window, window.canvas)


def other_layer(window: Window) -> Any:
    return next((layer for layer in window.viewer.layers if layer.name == "other reader" and layer.visible), None)


def test_disputed_cells_are_settled_one_by_one(
    window: Window, projects: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, other = projects
    session = open_folder(window, mine)
    row = compare(window, other, monkeypatch, tmp_path / "out")
    assert row.disputes_button.text() == "Review the 4 disputed cells"
    assert (tmp_path / "out/adjudication.csv").is_file()
    begin(window, row)
    dock = window.dock("Review")
    dock.refresh()
    assert dock._content.currentText() == "disputed cells"
    assert dock.queue_model.rowCount() == 4
    assert dock._agreement.text() == "ben: 0 of 4 settled here"
    ids = texts(window)
    assert set(ids) == {
        "ben: inflammatory", "outline differs (IoU 0.67)", "only you; ben rejected it", "only ben"
    }  # fmt: skip

    window.type_key(Qt.Key_N)
    assert window.state.selection == (ids["ben: inflammatory"],), "the class comes first"
    assert other_layer(window) is not None, "the outline of ben"
    window.type_key(Qt.Key_A)
    assert session.cells[ids["ben: inflammatory"]].settled.outcome is Outcome.MINE
    assert window.review.missed == ids["only ben"], "the next of the queue"
    dock.refresh()
    assert dock._hint.text() == "Only ben has this cell: epithelial. A or W takes it, R leaves it out, N skips it."
    assert other_layer(window) is not None
    row_number = dock.queue_list.currentIndex().row()
    assert dock.queue_model.item(row_number).cell_id == ids["only ben"], "the row of the cell is chosen"
    assert dock.queue_model.texts(row_number) == ("new?", "epithelial", "", "only ben")
    assert dock.buttons["take"].isVisible()
    if folder := os.environ.get("CELLSEG_SHOTS"):
        dock.refresh()
        pump(0.3)
        window.viewer.window._qt_window.grab().save(f"{folder}/disputes.png")

    count = len(session.cells)
    dock.refresh()
    QTest.mouseClick(dock.buttons["take"], Qt.LeftButton)
    assert len(session.cells) == count + 1
    taken = max(session.cells)
    assert (session.cells[taken].status, session.cells[taken].class_id) == (Status.EDITED, 3)
    assert session.undo_text == f"take the cell of ben as #{taken}, settled"
    window.type_key(Qt.Key_Z, Qt.ControlModifier)
    assert taken not in session.cells
    assert "only ben" in texts(window)

    window.review.go_to(window.review.queue.item(ids["only ben"]))
    window.type_key(Qt.Key_R)
    assert session.cells[max(session.cells)].status is Status.REJECTED
    assert "only ben" not in texts(window)
    assert window.state.selection == (ids["only you; ben rejected it"],)
    window.type_key(Qt.Key_Delete)
    assert ids["only you; ben rejected it"] in session.cells, "a deleted cell would leave no record"
    window.type_key(Qt.Key_W)
    assert session.cells[ids["only you; ben rejected it"]].settled.outcome is Outcome.OTHER
    window.type_key(Qt.Key_W)
    assert session.cells[ids["outline differs (IoU 0.67)"]].area == 96
    dock.refresh()
    assert dock._agreement.text() == "ben: 4 of 4 settled here"
    assert dock._hint.text().startswith("No disputed cell is left in this image.")
    assert other_layer(window) is None

    wait_until(lambda: window.state.disputed.get(window.state.image_id) == 0)
    assert row.disputes_button.text() == "No disputed cell is open"
    row = compare(window, other, monkeypatch, tmp_path / "out")
    assert "4 disputed cells: 4 settled" in row.row.message.text(), "edits that are not saved count too"
    assert "0 open" in row.row.message.text()
    assert plugin_of(window.viewer).opener.save()


def test_the_choice_is_remembered_with_the_folder_and_settled_disputes_stay_settled(
    window: Window, projects: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, other = projects
    open_folder(window, mine)
    row = compare(window, other, monkeypatch, tmp_path / "out")
    begin(window, row)
    window.type_key(Qt.Key_N)
    window.type_key(Qt.Key_2)
    assert "ben: inflammatory" not in texts(window)
    opener = plugin_of(window.viewer).opener
    assert opener.save()
    window.review.queue.choose(None, window.review.queue.order)
    opener.close()
    window.state.set_workspace(None, ())
    assert window.state.second_reader is None

    open_folder(window, mine)
    assert window.state.second_reader == other
    dock = window.dock("Review")
    show_dock(window.viewer, "Review")
    dock.refresh()
    dock._content.setFocus()
    QTest.keyClick(dock._content, Qt.Key_End)
    wait_until(lambda: window.review.queue.disputes is not None)
    dock.refresh()
    assert dock._agreement.text() == "ben: 1 of 4 settled here"
    QTest.keyClick(dock._content, Qt.Key_Home)
    assert window.review.queue.content is QueueContent.PROPOSED
    assert window.review.queue.disputes is None


def test_a_folder_that_cannot_be_compared_says_why_in_the_queue(
    window: Window, projects: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, other = projects
    open_folder(window, mine)
    row = compare(window, other, monkeypatch, tmp_path / "out")
    begin(window, row)
    shutil.rmtree(other)
    dock = window.dock("Review")
    window.state.set_second_reader(other)
    wait_until(lambda: bool(window.review.queue.second.problem))
    dock.refresh()
    assert str(other) in dock._hint.text()
    assert dock.queue_model.rowCount() == 0
    window.press("W")
    window.press("A")


def test_bulk_decisions_and_the_filter_reach_only_disputed_cells(
    window: Window, projects: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, other = projects
    session = open_folder(window, mine)
    row = compare(window, other, monkeypatch, tmp_path / "out")
    begin(window, row)
    window.viewer.reset_view()
    dock = window.dock("Review")
    dock.filter_row.score.setValue(1.0)
    assert dock._filtered() == ()
    dock.filter_row.score.setValue(0.0)
    dock.filter_row._low.setValue(1)
    assert len(dock._filtered()) == 3
    dock.filter_row._low.setValue(0)
    window.type_key(Qt.Key_A, Qt.ShiftModifier)
    settled = [cell for cell in session.cells.values() if cell.settled is not None]
    assert len(settled) == 3, "not the two cells on which they agree"
    assert set(texts(window)) == {"only ben"}
    window.type_key(Qt.Key_Z, Qt.ControlModifier)
    assert len(texts(window)) == 4


def test_enter_opens_the_next_image_with_disputed_cells(
    window: Window, tmp_path: Path, projects: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = projects
    for folder, user, count in ((mine, "ana", 1), (other, "ben", 0)):
        with Sessions(open_project(folder, user=user)) as sessions:
            image_id = sessions.project.images[1].image_id
            session = sessions.open_session(image_id, SIZE)
            session.restore([], "an empty image")
            for i in range(1 + count):
                session.add(1, box(i), np.ones((12, 12), bool))
            sessions.save(image_id)
    open_folder(window, mine)
    row = compare(window, other, monkeypatch, tmp_path / "out")
    assert row.disputes_button.text() == "Review the 5 disputed cells"
    begin(window, row)
    window.type_key(Qt.Key_N)
    for _ in range(4):
        window.type_key(Qt.Key_A)
    dock = window.dock("Review")
    wait_until(lambda: window.state.disputed.get(window.state.image_id) == 0)
    dock.refresh()
    assert dock._hint.text() == ("No disputed cell is left in this image. Enter opens the next one with any (1 left).")
    second = window.state.images[1].image_id
    window.type_key(Qt.Key_Return)
    wait_until(lambda: window.state.image_id == second)
    wait_until(lambda: window.review.queue.disputes is not None)
    assert set(texts(window)) == {"only you"}


def test_a_reader_whose_image_was_saved_before_a_class_was_added_is_read(tmp_path: Path) -> None:
    mine, other = two_projects(tmp_path)
    image_id = open_project(mine).images[0].image_id
    own = open_project(mine).read(image_id)
    names = own.classes.names
    more = replace(own, classes=ClassTable((*names, "mitosis")))
    assert len(drive(_read(other, mine, image_id, more))[1].cells) > 4
    for wrong in (ClassTable(("a", *names[1:])), ClassTable(names[:2])):  # the other has cells of three classes
        with pytest.raises(AnnotationError, match="Give both the same classes"):
            drive(_read(other, mine, image_id, replace(own, classes=wrong)))

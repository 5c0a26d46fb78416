"""Marks that are seen without opening an image: its note and flag in the list of Open, and whether edits are saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QScrollArea

from napari_cellseg.gui import docks
from napari_cellseg.gui.opening.image_list import ImageList
from napari_cellseg.gui.widgets.workflow import DOCK_WIDTH_PX
from napari_cellseg.review import ReviewSession


def test_a_note_on_an_image_is_in_the_list_also_after_the_folder_was_closed(
    qtbot: Any, open_dock: Any, project_folder: Path
) -> None:
    dock = open_dock(docks.Open)

    def open_folder() -> Any:
        dock.opener.open_path(project_folder)
        qtbot.waitUntil(lambda: dock.state.session is not None and not dock.opener.job.is_busy, timeout=60_000)
        return dock.state.session

    session = open_folder()
    model, row = dock.findChild(ImageList).model(), dock.state.images.index(dock.state.file)
    assert "note" not in model.index(row, 2).data()
    session.describe(replace(session.about, note="blurred", unsure=True))
    qtbot.waitUntil(lambda: str(model.index(row, 2).data()).endswith(", note, unsure"), timeout=60_000)
    assert model.index(row, 0).data(Qt.ToolTipRole).endswith("\nunsure: blurred")
    dock.opener.save()
    image_id = dock.state.image_id
    assert dock.state.workspace.project.summary(image_id).about.note == "blurred"
    dock.opener.show(dock.state.images[1].image_id)
    qtbot.waitUntil(lambda: dock.state.image_id != image_id and dock.state.session is not None, timeout=60_000)
    assert model.index(row, 2).data().endswith(", note, unsure")


def test_the_save_status_of_review_fits_in_its_row(qtbot: Any, open_dock: Any, project_folder: Path) -> None:
    review = open_dock(docks.Review)
    review.opener.open_path(project_folder)
    qtbot.waitUntil(lambda: review.state.session is not None and not review.opener.job.is_busy, timeout=60_000)
    session = review.state.session
    review._saving.look()
    assert review.saved.text() == "saved"
    for number in (1, 2, 3):
        session.accept([sorted(session.cells)[number]])
    review._saving.look()
    assert review.saved.text() == "3 unsaved"
    assert review.saved.toolTip().startswith("3 edits not saved yet\n")
    review.resize(DOCK_WIDTH_PX, 700)
    review.show()
    review.refresh()
    qtbot.wait(10)
    assert review.saved.width() >= review.saved.sizeHint().width() - 1, (review.counts.text(), review.saved.width())


def test_the_save_status_fits_next_to_the_numbers_of_a_large_image(
    qtbot: Any, open_dock: Any, project_folder: Path
) -> None:
    review = open_dock(docks.Review)
    review.opener.open_path(project_folder)
    qtbot.waitUntil(lambda: review.state.session is not None and not review.opener.job.is_busy, timeout=60_000)
    session = review.state.session
    places = [(x, y) for y in range(0, 90, 3) for x in range(0, 90, 3)]
    many = ReviewSession(session.image_size, session.classes)
    for x, y in places:
        many.add(1, (x, y, x + 2, y + 2), np.ones((2, 2), bool))
    session.restore(many.cells.values(), "many")
    for cell_id in range(1, 100):
        session.reject([cell_id])
    review._saving.look()
    assert review.saved.text() == "100 unsaved"
    review.resize(DOCK_WIDTH_PX, 700)
    review.show()
    review.refresh()
    qtbot.wait(10)
    assert review.counts.text() == "900 / 900"
    assert review.counts.toolTip().startswith("tissue_01\n900 of 900 cells reviewed")
    assert review.saved.width() >= review.saved.sizeHint().width() - 1, (review.counts.text(), review.saved.width())


def test_buttons_keep_a_distance_from_the_scroll_bar(qtbot: Any, open_dock: Any) -> None:
    dock = open_dock(docks.Export)
    bar = dock.findChild(QScrollArea).verticalScrollBar()

    def gap() -> int:
        button = dock.export_button
        return bar.mapTo(dock, QPoint(0, 0)).x() - button.mapTo(dock, QPoint(button.width(), 0)).x()

    dock.resize(DOCK_WIDTH_PX, 300)
    dock.show()
    qtbot.waitUntil(lambda: bar.isVisible() and gap() >= 8)
    dock.resize(DOCK_WIDTH_PX, 1200)
    qtbot.waitUntil(lambda: not bar.isVisible() and dock.width() - dock.export_button.geometry().right() < 8)

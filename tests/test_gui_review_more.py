"""The docks of a review: label images on disk, saving, the gallery, the keys behind ``?``."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import ReviewQueue, ReviewSession, Status
from tests.review_window import CLASSES, SIZE, Window, disk, make_session, pump

pytestmark = pytest.mark.gui


def labels_with_one_more(session: ReviewSession) -> InstanceMasks:
    """All cells of the session but cell 1, and one at (100, 100) that it does not have."""
    cells = [cell for cell in session.cells.values() if cell.cell_id != 1]
    return InstanceMasks.from_crops(
        SIZE,
        np.array([*(cell.box[:2] for cell in cells), (30, 110)]),
        [*(cell.mask for cell in cells), disk(20)],
        np.array([*(cell.class_id for cell in cells), 2]),
    )


def test_a_cell_that_only_the_labels_have_is_shown_and_taken_over(window: Window) -> None:
    session = window.open()
    window.review.queue.use(ReviewQueue(session, labels_with_one_more(session)))
    window.review.queue.finish()
    window.press("N")
    missed = window.review.missed
    assert missed is not None
    assert window.state.selection == ()
    assert "only in the labels" in window.viewer.status
    window.press("N")
    assert window.review.missed is None, "N continues with the next item"
    assert window.state.selection == (1,), "not in the labels"
    window.press("Shift-N")
    assert window.review.missed == missed
    dock = window.dock("Review")
    dock.refresh()
    assert dock.buttons["accept"].isEnabled()
    window.press("A")
    taken = session.cells[21]
    assert (taken.class_id, taken.box, taken.status) == (2, (30, 110, 50, 130), Status.EDITED)
    window.press("Control-Z")
    assert 21 not in session.cells


def test_rejecting_a_missed_cell_says_what_to_do(window: Window) -> None:
    from napari.utils.notifications import notification_manager

    session = window.open()
    window.review.queue.use(ReviewQueue(session, labels_with_one_more(session)))
    window.review.queue.finish()
    window.press("N")
    notification_manager.records.clear()
    window.press("R")
    assert session.undo_text is None
    assert "Press A to add the one on disk" in notification_manager.records[-1].message


def test_the_gallery_turns_to_the_page_of_the_selected_cell(window: Window) -> None:
    session = ReviewSession((400, 800), CLASSES, make_cells(150))
    window.open(session)
    gallery = window.dock("Gallery")
    gallery.show()
    pump(0.1)
    gallery.arrange()
    assert gallery.model.pages == 2
    window.state.select((150,))
    pump(0.3)
    assert gallery.model.page == 1
    assert [gallery.model.cell_id(i) for i in gallery.view.selectionModel().selectedIndexes()] == [150]


def make_cells(count: int) -> list:
    from dataclasses import replace

    first = make_session().cells[1]
    boxes = [(20 * (i % 40), 20 * (i // 40), 20 * (i % 40) + 20, 20 * (i // 40) + 20) for i in range(count)]
    return [replace(first, cell_id=i + 1, score=(i + 1) / count, box=boxes[i]) for i in range(count)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "saved 3 s ago"), (90, "saved 2 min ago"), (7300, "saved 2 h ago"), (-5, "saved 0 s ago")]
)
def test_how_long_ago_it_was_saved(monkeypatch: pytest.MonkeyPatch, seconds: float, text: str) -> None:
    from napari_cellseg.workspace import status

    monkeypatch.setattr(status.time, "time", lambda: 1_000_000.0)
    assert status.saved_text(1_000_000.0 - seconds) == text
    assert status.saved_text(None) == "saved"


def test_the_question_mark_opens_the_keys(window: Window) -> None:
    from qtpy.QtWidgets import QApplication

    from napari_cellseg.gui.review.keys import KeysDialog

    window.open()
    dock = window.dock("Review")
    dock.buttons["keys"].click()
    pump(0.1)
    dialogs = [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, KeysDialog)]
    assert [dialog.isVisible() for dialog in dialogs] == [True]
    dialogs[0].close()

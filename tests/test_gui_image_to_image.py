"""From image to image with the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qtpy.QtCore import Qt

from napari_cellseg.gui.review.action_table import action
from napari_cellseg.gui.review.queue_text import end_text
from napari_cellseg.review import Status
from tests.review_window import Window, make_session, wait_until

pytestmark = pytest.mark.gui


@pytest.fixture
def folder(window: Window, project_folder: Path) -> Iterator[list[str]]:
    window.review.opener.open_path(project_folder)
    wait_until(lambda: window.state.image_id is not None and not window.state.loading)
    yield [file.image_id for file in window.state.images]
    window.review.opener.close()
    window.state.set_workspace(None, ())


def is_open(window: Window, image_id: str) -> bool:
    ready = window.state.image_id == image_id and not window.state.loading
    if ready:
        window.layers.finish()
        window.review.queue.begin()
        window.review.queue.finish()
    return ready


def test_page_keys_open_the_images_and_say_where_the_list_ends(window: Window, folder: list[str]) -> None:
    wait_until(lambda: is_open(window, folder[0]))
    window.type_key(Qt.Key_PageUp)
    assert window.viewer.status == "This is the first image."
    window.type_key(Qt.Key_PageDown)
    wait_until(lambda: is_open(window, folder[1]))
    window.type_key(Qt.Key_PageUp)
    wait_until(lambda: is_open(window, folder[0]))


def test_enter_opens_the_next_image_once_every_cell_is_decided(window: Window, folder: list[str]) -> None:
    wait_until(lambda: is_open(window, folder[0]))
    wait_until(lambda: not window.review.queue._truth.is_busy)  # the labels on disk make the queue once more
    session = window.review.session
    first = next(iter(session.cells))
    session.set_status(list(session.cells), Status.ACCEPTED)
    session.set_status([first], Status.PROPOSED)
    window.review.queue.finish()
    window.type_key(Qt.Key_Return)
    assert window.state.image_id == folder[0], "a cell awaits a decision"
    wait_until(lambda: window.type_key(Qt.Key_N) or window.state.selection == (first,))
    window.type_key(Qt.Key_A)
    # The labels on disk may still be read, and the queue with them; then the step follows.
    wait_until(lambda: "Enter opens the next image" in window.viewer.status)
    window.type_key(Qt.Key_Return)
    wait_until(lambda: is_open(window, folder[1]))


def test_an_image_without_cells_is_not_said_to_be_finished(window: Window) -> None:
    window.open(make_session(0, 0))
    assert end_text(window.state, window.review.queue) == ""
    assert action("next_from_end").needs(window.review) is not None
    assert window.layers.layer(1) is not None

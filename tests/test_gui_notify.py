"""Notifications show their whole text, and no source."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QLabel

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.widgets.notify import show_choice, show_error, show_info
from tests.review_window import Window, pump, wait_until

pytestmark = pytest.mark.gui

TEXT = (
    "Cannot read /a/folder/of/images/train_03.tif: the file ends after 20 kB of 3,000 kB, as after a stopped copy. "
    "Copy the file again, or remove it from the folder and open the folder again."
)


def shown() -> list[Any]:
    from napari._qt.dialogs.qt_notification import NapariQtNotification

    return list(NapariQtNotification._instances)


def told(tell: Callable[[], None]) -> Any:
    """Return the notification that a call shows; those of other tests may still be there, alive or deleted by Qt."""
    before = shown()
    tell()
    (new,) = (each for each in shown() if not any(each is other for other in before))
    return new


def test_a_long_text_is_shown_as_a_whole_and_without_a_source(window: Window) -> None:
    for tell in (
        lambda: show_error(CellSegError(TEXT)),
        lambda: show_choice(TEXT, "Do it", lambda: None, window.state),
    ):
        dialog = told(tell)
        wait_until(lambda dialog=dialog: dialog.property("expanded"))
        pump(0.05)
        assert window.canvas.rect().contains(dialog.geometry())
        assert dialog.source_label.text() == ""
        assert dialog.message.text() == TEXT
        assert "…" not in QLabel.text(dialog.message), "what is drawn, less what is cut"
        if folder := os.environ.get("CELLSEG_SHOTS"):
            window.viewer.window._qt_window.grab().save(f"{folder}/notify.png")
        dialog.close()


@pytest.mark.usefixtures("window")
def test_a_short_text_stays_one_line() -> None:
    dialog = told(lambda: show_info("Saved."))
    pump(0.5)
    assert not dialog.property("expanded")
    dialog.close()


@pytest.mark.usefixtures("window")
def test_a_notification_that_qt_has_deleted_is_in_no_ones_way() -> None:
    first = told(lambda: show_info("First."))
    first.deleteLater()
    pump()
    QApplication.sendPostedEvents(first, QEvent.Type.DeferredDelete)
    with pytest.raises(RuntimeError):
        first.isVisible()
    second = told(lambda: show_info("Second."))
    assert second.message.text() == "Second."
    second.close()

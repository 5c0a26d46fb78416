"""Tab and Space after a click in a dock start no training."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from napari_cellseg.gui.review.action import Place
from napari_cellseg.gui.review.action_table import REVIEW_ACTIONS
from napari_cellseg.gui.widgets.dock import KeyGuard
from tests.review_window import Window, focus, pump, wait_until

pytestmark = pytest.mark.gui


def test_after_a_click_on_a_button_of_the_canvas_tab_hides_the_masks(window: Window) -> None:
    dock = window.dock("Review")
    window.open()
    dock.refresh()
    for name in ("click_cell", "next", "outlines"):
        focus(window, dock.queue_list)
        QTest.mouseClick(dock.buttons[name], Qt.LeftButton)
        wait_until(lambda: QApplication.focusWidget() is window.canvas)
    QTest.mouseClick(dock.buttons["outlines"], Qt.LeftButton)
    window.press("V")
    window.state.select((3,))
    dock.refresh()
    focus(window, dock.queue_list)
    QTest.mouseClick(dock._classes._buttons[2], Qt.LeftButton)
    wait_until(lambda: QApplication.focusWidget() is window.canvas)
    assert not window.review.showing.is_off
    QTest.keyClick(window.canvas, Qt.Key_Tab)
    pump(0.02)
    assert window.review.showing.is_off
    assert QApplication.focusWidget() is window.canvas
    QTest.keyClick(window.canvas, Qt.Key_Tab)
    pump(0.02)
    assert not window.review.showing.is_off


def test_a_button_that_a_key_presses_keeps_the_focus(window: Window) -> None:
    dock = window.dock("Review")
    window.open()
    dock.refresh()
    focus(window, dock.buttons["next"])
    QTest.keyClick(dock.buttons["next"], Qt.Key_Space)
    pump(0.02)
    assert QApplication.focusWidget() is dock.buttons["next"]


def test_enter_starts_a_training_and_space_does_not(window: Window, qtbot: Any) -> None:
    review, train = window.dock("Review"), window.dock("Train")
    names = [row.id for row in REVIEW_ACTIONS if row.place is Place.TRAIN]
    for button in (train.button, *(review.buttons[name] for name in names)):
        assert button.findChildren(KeyGuard)
    clicks: list[int] = []
    button = QPushButton("start")
    qtbot.addWidget(button)
    KeyGuard(button)
    button.clicked.connect(lambda: clicks.append(1))
    button.show()
    QTest.keyClick(button, Qt.Key_Space)
    assert not clicks
    for key in (Qt.Key_Return, Qt.Key_Enter):
        QTest.keyClick(button, key)
    assert len(clicks) == 2
    QTest.mouseClick(button, Qt.LeftButton)
    assert len(clicks) == 3

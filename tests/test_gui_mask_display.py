"""Ctrl and the wheel change the opacity of the masks, Tab hides them until the next Tab; real events on the canvas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from review_window import Window, make_session, pump, wait_until

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.review import ReviewSession

pytestmark = pytest.mark.gui


@pytest.fixture
def session(window: Window) -> Iterator[ReviewSession]:
    yield window.open_focused()
    window.review.showing.show_all()
    while min(opacities(window)) < 1:
        turn_wheel(window, 120)


def turn_wheel(window: Window, angle: int, modifier: Any = Qt.ControlModifier) -> None:
    canvas = window.canvas
    place = QPoint(canvas.width() // 2, canvas.height() // 2)
    event = QWheelEvent(
        QPointF(place),
        QPointF(canvas.mapToGlobal(place)),
        QPoint(0, 0),
        QPoint(0, angle),
        Qt.NoButton,
        modifier,
        Qt.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas, event)


def opacities(window: Window) -> list[float]:
    return [layer.opacity for layer in window.layers]


def test_ctrl_and_wheel_change_the_opacity_of_all_masks_and_do_not_zoom(
    window: Window,
    session: ReviewSession,  # noqa: ARG001
) -> None:
    camera = camera_of(window.viewer)
    before = camera.zoom
    turn_wheel(window, 120, Qt.NoModifier)
    wait_until(lambda: camera.zoom > before)
    zoom = camera.zoom
    turn_wheel(window, -120)
    assert opacities(window) == [0.95] * 4
    assert window.viewer.status == "Opacity of the masks: 95 %"
    turn_wheel(window, -240)
    assert opacities(window) == [0.85] * 4
    for _ in range(8):  # a touchpad: one notch in all
        turn_wheel(window, 15)
    assert opacities(window) == [0.9] * 4
    turn_wheel(window, -120 * 40)
    assert opacities(window) == [0.05] * 4, "hidden masks are for H and Tab"
    turn_wheel(window, 120 * 40)
    assert opacities(window) == [1] * 4
    turn_wheel(window, 120, Qt.NoModifier)
    wait_until(lambda: camera.zoom > zoom)
    assert camera.zoom == pytest.approx(zoom * zoom / before), "one notch, and none of those with Ctrl"
    assert opacities(window) == [1] * 4


def test_a_class_that_comes_later_gets_the_opacity_and_one_changed_by_hand_keeps_its_own(
    window: Window, session: ReviewSession
) -> None:
    turn_wheel(window, -1200)
    window.layers.layer(2).opacity = 0.8
    window.open(make_session(classes=session.classes))
    assert opacities(window) == [0.5, 0.8, 0.5, 0.5]
    turn_wheel(window, 120)
    assert opacities(window) == [0.55] * 4


def test_a_stack_keeps_ctrl_and_wheel_for_its_slider(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    stack = window.viewer.add_image(np.zeros((5, 20, 20)), name="stack")
    before = window.viewer.dims.current_step[0]
    turn_wheel(window, -120)
    turn_wheel(window, -120)
    assert window.viewer.dims.current_step[0] != before
    assert opacities(window) == [1] * 4
    window.viewer.layers.remove(stack)


def test_tab_hides_the_masks_until_the_next_tab(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    window.layers.layer(3).opacity = 0.7
    QTest.keyClick(window.canvas, Qt.Key_Tab)
    assert opacities(window) == [0] * 4
    assert all(layer.visible for layer in window.layers)
    assert window.viewer.status == "The masks are hidden. Tab on the canvas shows them again."
    assert QApplication.focusWidget() is window.canvas
    QTest.keyPress(window.canvas, Qt.Key_H)
    QTest.keyRelease(window.canvas, Qt.Key_H)
    wait_until(lambda: not window.review.showing.is_held)
    assert opacities(window) == [0] * 4, "H is over, Tab is not"
    QTest.keyClick(window.canvas, Qt.Key_Tab)
    assert opacities(window) == [1, 1, 0.7, 1]
    window.layers.layer(3).opacity = 1


def test_hidden_masks_come_back_with_the_wheel_and_with_another_image(
    window: Window,
    session: ReviewSession,  # noqa: ARG001
) -> None:
    QTest.keyClick(window.canvas, Qt.Key_Tab)
    turn_wheel(window, -120)
    assert opacities(window) == [0.95] * 4
    QTest.keyClick(window.canvas, Qt.Key_Tab)
    window.open(make_session())
    assert opacities(window) == [0.95] * 4
    assert not window.review.showing.is_off


def test_tab_moves_the_focus_where_no_cells_are_under_review(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    tissue = window.viewer.layers["tissue"]
    window.viewer.layers.selection.active = tissue  # the user's layer
    pump()
    QTest.keyClick(window.canvas, Qt.Key_Tab)
    assert opacities(window) == [1] * 4
    assert QApplication.focusWidget() is not window.canvas

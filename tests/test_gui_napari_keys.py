"""What the keys of napari itself do while cells are reviewed."""

from __future__ import annotations

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.review import ReviewSession, Status
from tests.review_window import Window, pump

pytestmark = pytest.mark.gui


def test_ctrl_y_is_redo_and_the_3d_view_is_refused(window: Window, session: ReviewSession) -> None:
    window.type_key(Qt.Key_N)
    (first,) = window.state.selection
    window.type_key(Qt.Key_A)
    window.type_key(Qt.Key_Z, Qt.ControlModifier)
    assert session.cells[first].status is Status.PROPOSED
    window.type_key(Qt.Key_Y, Qt.ControlModifier)
    assert session.cells[first].status is Status.ACCEPTED
    assert window.viewer.dims.ndisplay == 2
    window.viewer.layers.selection.active = window.viewer.layers["tissue"]
    window.type_key(Qt.Key_Y, Qt.ControlModifier)
    assert window.viewer.dims.ndisplay == 2
    assert "3-D" in notification_manager.records[-1].message


def test_ctrl_y_is_redo_in_the_dock(window: Window, session: ReviewSession) -> None:
    dock = window.dock("Review")
    session.accept((3,))
    session.undo()
    window.state.window.activateWindow()
    dock.queue_list.setFocus()
    pump(0.1)
    QTest.keyClick(dock.queue_list, Qt.Key_Y, Qt.ControlModifier)
    assert session.cells[3].status is Status.ACCEPTED


def test_v_points_and_hides_no_layer(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    window.type_key(Qt.Key_B)
    window.type_key(Qt.Key_V)
    assert window.review.tools.tool is Tool.POINT
    assert all(layer.visible for layer in window.layers)


def test_a_digit_typed_in_a_field_is_text(window: Window, session: ReviewSession) -> None:
    dock = window.dock("Review")
    window.type_key(Qt.Key_N)
    window.state.window.activateWindow()
    field = dock.filter_row.score
    field.setFocus()
    field.selectAll()
    pump(0.1)
    QTest.keyClicks(field, "0.3")
    QTest.keyClick(field, Qt.Key_Return)
    assert field.value() == pytest.approx(0.3)
    assert session.undo_text is None
    field.setValue(0)

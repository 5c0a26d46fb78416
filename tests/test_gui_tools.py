"""The rhythm of a review with the real keyboard and mouse: digits, one tool, decisions, a look below the masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.canvas.camera import camera_of, fit_image
from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.gui.review.action import Place
from napari_cellseg.gui.review.action_table import REVIEW_ACTIONS
from napari_cellseg.review import ReviewSession, Status
from tests.real_mouse import Mouse
from tests.review_window import SIZE, Window, pump, wait_until
from tests.shares import some_by_default

pytestmark = pytest.mark.gui

DIGITS = {1: Qt.Key_1, 2: Qt.Key_2, 3: Qt.Key_3, 4: Qt.Key_4, 7: Qt.Key_7}


@pytest.fixture
def mouse(window: Window) -> Mouse:
    return Mouse(window)


def modes(window: Window) -> list[str]:
    return [str(layer.mode) for layer in window.layers]


def middle(session: ReviewSession, cell_id: int) -> tuple[float, float]:
    x0, y0, x1, y1 = session.cells[cell_id].box
    return (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2


# ---- digits are classes ----


def test_a_digit_sets_the_class_and_moves_on_and_no_click_erases(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    window.type_key(Qt.Key_N)
    (first,) = window.state.selection
    wanted = 1 if session.cells[first].class_id != 1 else 2
    area = session.cells[first].area
    window.type_key(DIGITS[wanted])
    assert session.cells[first].class_id == wanted
    assert session.cells[first].status is Status.EDITED
    assert window.state.selection not in ((first,), ())
    mouse.click(*middle(session, first))
    assert session.cells[first].area == area, "1 is no eraser here"
    assert modes(window) == ["pan_zoom"] * 4


def test_the_class_that_a_cell_has_confirms_it(window: Window, session: ReviewSession) -> None:
    window.type_key(Qt.Key_N)
    (first,) = window.state.selection
    class_id = session.cells[first].class_id
    window.type_key(DIGITS[class_id])
    assert session.cells[first].status is Status.ACCEPTED
    assert session.cells[first].class_id == class_id
    assert window.state.selection not in ((first,), ())
    assert session.undo_text == f"accept #{first}"


def test_a_class_that_is_not_there_is_refused(window: Window, session: ReviewSession) -> None:
    window.type_key(Qt.Key_N)
    window.type_key(Qt.Key_7)
    assert session.undo_text is None
    assert "no class 7" in notification_manager.records[-1].message
    assert modes(window) == ["pan_zoom"] * 4


def test_a_class_button_says_its_key_and_does_the_same(window: Window, session: ReviewSession) -> None:
    dock = window.dock("Review")
    window.type_key(Qt.Key_N)
    (first,) = window.state.selection
    dock.refresh()
    made = dock._classes._buttons
    assert [button.text()[0] for button in made] == ["1", "2", "3", "4"]
    QTest.mouseClick(made[session.cells[first].class_id - 1], Qt.LeftButton)
    assert session.cells[first].status is Status.ACCEPTED


def test_a_digit_chooses_the_class_of_a_new_cell(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    fit_image(window.viewer, SIZE)
    window.type_key(Qt.Key_M)
    window.type_key(Qt.Key_3)
    mouse.drag([(40, 36), (40, 44)])
    assert session.cells[21].class_id == 3


# ---- one tool ----


def test_a_tool_holds_on_every_class_layer_until_a_decision(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    fit_image(window.viewer, SIZE)
    window.type_key(Qt.Key_B)
    for cell_id, class_id in ((6, 2), (8, 4)):
        window.review.show_cell(cell_id)
        fit_image(window.viewer, SIZE)
        area = session.cells[cell_id].area
        y, x = middle(session, cell_id)
        mouse.drag([(y, x), (y, x + 13)])
        assert session.cells[cell_id].area > area, f"the brush paints on class {class_id}"
        assert window.viewer.layers.selection.active.class_id == class_id
    window.type_key(Qt.Key_E)
    window.review.show_cell(7)
    fit_image(window.viewer, SIZE)
    area = session.cells[7].area
    y, x = middle(session, 7)
    mouse.drag([(y, x), (y, x + 5)])
    assert session.cells[7].area < area, "the eraser erases on class 3"
    assert sorted(modes(window)) == ["erase", "pan_zoom", "pan_zoom", "pan_zoom"]


@pytest.mark.parametrize("key", some_by_default([Qt.Key_A, Qt.Key_R, Qt.Key_N, Qt.Key_2], Qt.Key_A, Qt.Key_2))
def test_a_decision_returns_to_pointing(window: Window, session: ReviewSession, mouse: Mouse, key: Any) -> None:
    window.type_key(Qt.Key_N)
    window.type_key(Qt.Key_B)
    window.type_key(key)
    assert window.review.tools.tool is Tool.POINT
    before = {i: cell.mask.tobytes() for i, cell in session.cells.items()}
    text = session.undo_text
    for cell_id in (5, 6, 7, 8):  # one of each class: the drag pans wherever it begins
        window.review.show_cell(cell_id)
        pump(0.2)
        y, x = middle(session, cell_id)
        centre = tuple(camera_of(window.viewer).center)
        mouse.drag([(y, x), (y + 3, x + 3), (y + 6, x + 6)])
        assert tuple(camera_of(window.viewer).center) != centre
    assert session.undo_text == text
    assert {i: cell.mask.tobytes() for i, cell in session.cells.items()} == before


def test_napari_s_own_buttons_choose_the_tool_as_well(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    window.layers.activate(2)
    window.layers.settle()
    window.layers.layer(2).mode = "polygon"
    assert window.review.tools.tool is Tool.POLYGON
    window.layers.activate(4)
    window.layers.settle()
    assert modes(window) == ["pan_zoom", "pan_zoom", "pan_zoom", "polygon"]


@pytest.mark.parametrize(("key", "tool"), [(Qt.Key_X, Tool.BOX), (Qt.Key_L, Tool.LASSO)])
def test_box_and_lasso_select_without_a_modifier_and_the_view_stays(
    window: Window, session: ReviewSession, mouse: Mouse, key: Any, tool: Tool
) -> None:
    fit_image(window.viewer, SIZE)
    window.type_key(key)
    assert window.review.tools.tool is tool
    centre = tuple(camera_of(window.viewer).center)
    mouse.drag([(5, 5), (5, 78), (35, 78), (35, 5)] if tool is Tool.LASSO else [(5, 5), (20, 40), (35, 75)])
    assert window.state.selection == (1, 2)
    assert tuple(camera_of(window.viewer).center) == centre
    window.type_key(Qt.Key_A)
    assert session.cells[1].status is session.cells[2].status is Status.ACCEPTED
    assert window.review.tools.tool is Tool.POINT


def test_every_tool_has_a_button_that_shows_its_key_and_that_it_is_chosen(
    window: Window,
    session: ReviewSession,  # noqa: ARG001
) -> None:
    dock = window.dock("Review")
    dock.refresh()
    rows = [row for row in REVIEW_ACTIONS if row.place is Place.TOOL]
    assert len(rows) == 9
    for row in rows:
        window.state.select((1,))
        made = dock.buttons[row.id]
        assert made.text() == f"{row.text} {row.keys[0]}"
        QTest.mouseClick(made, Qt.LeftButton)
        chosen = [other.id for other in rows if dock.buttons[other.id].isChecked()]
        assert chosen == [row.id]
        QTest.mouseClick(made, Qt.LeftButton)
        assert made.isChecked(), "a second click leaves it chosen"


def test_tools_are_disabled_with_the_reason_where_nothing_may_be_edited(window: Window, session: ReviewSession) -> None:
    dock = window.dock("Review")
    session.refusal = "The folder cannot be written."
    dock.refresh()
    assert not dock.buttons["brush"].isEnabled()
    assert dock.buttons["brush"].toolTip() == "The folder cannot be written."
    assert dock.buttons["box"].isEnabled(), "selecting changes nothing"
    window.type_key(Qt.Key_B)
    assert window.review.tools.tool is Tool.POINT
    session.refusal = ""


def test_fill_fills_a_hole_and_never_the_background(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    ring = np.ones((12, 12), bool)
    ring[3:9, 3:9] = False
    session.add(1, (34, 34, 46, 46), ring)
    window.state.select((21,))
    window.layers.activate(1)
    fit_image(window.viewer, SIZE)
    window.type_key(Qt.Key_F)
    text = session.undo_text
    mouse.click(80, 2)
    assert session.undo_text == text
    assert "no closed outline" in notification_manager.records[-1].message
    mouse.click(40, 40)
    assert session.cells[21].area == 144


# ---- correct, A ----


def at_the_queue(window: Window) -> tuple[int, int]:
    """Go to the first cell of the queue; returns its id and that of the next."""
    window.type_key(Qt.Key_N)
    (first,) = window.state.selection
    following = window.review.queue.next(first)
    assert following is not None
    return first, following.cell_id


def test_a_after_painting_accepts_and_moves_on(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    first, following = at_the_queue(window)
    window.type_key(Qt.Key_B)
    y, x = middle(session, first)
    mouse.drag([(y, x), (y, x + 12)])
    assert session.undo_text == f"paint #{first}"
    window.type_key(Qt.Key_A)
    assert window.state.selection == (following,)
    assert session.cells[first].status is Status.EDITED
    assert session.progress.reviewed == 1


def test_a_after_a_split_moves_on(window: Window, session: ReviewSession) -> None:
    first, following = at_the_queue(window)
    x0, y0, x1, y1 = session.cells[first].box
    window.review.cut_by_line(first, [(y0 - 2, (x0 + x1) / 2), (y1 + 2, (x0 + x1) / 2)])
    assert session.undo_text == f"split #{first}"
    window.type_key(Qt.Key_A)
    assert window.state.selection == (following,)


def test_a_after_a_merge_moves_on_past_the_cell_that_was_merged(window: Window, session: ReviewSession) -> None:
    first, following = at_the_queue(window)
    x0, y0, _, _ = session.cells[first].box
    session.add(1, (x0, y0, x0 + 20, y0 + 20), np.ones((20, 20), bool))
    window.state.select((first, 21, following))
    QTest.keyClick(window.canvas, Qt.Key_Q)
    assert following in session.cells, "too far away: refused"
    window.state.select((first, 21))
    window.type_key(Qt.Key_Q)
    assert session.undo_text == f"merge #{first} + #21"
    window.type_key(Qt.Key_A)
    assert window.state.selection == (following,)


def test_a_on_a_drawn_cell_returns_to_the_cell_where_the_queue_was_left(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    first, following = at_the_queue(window)
    fit_image(window.viewer, SIZE)
    window.type_key(Qt.Key_M)
    mouse.drag([(40, 38), (40, 42)])
    assert window.state.selection == (21,)
    window.type_key(Qt.Key_A)
    assert window.state.selection == (first,), "still undecided"
    window.type_key(Qt.Key_A)
    assert window.state.selection == (following,)
    assert session.progress.reviewed == 2


# ---- cells that do not touch ----


def test_cells_apart_are_merged_by_shift_q_only(window: Window, session: ReviewSession) -> None:
    session.add(1, (33, 10, 40, 30), np.ones((20, 7), bool))  # 3 px next to cell 1
    window.state.select((1, 21))
    window.type_key(Qt.Key_Q)
    assert 21 in session.cells
    assert "Shift+Q" in notification_manager.records[-1].message
    window.type_key(Qt.Key_Q, Qt.ShiftModifier)
    assert 21 not in session.cells
    assert session.cells[1].covers(20, 31), "the gap is filled"


# ---- the view ----


def test_shift_a_accepts_what_is_in_view_and_one_undo_takes_it_back(window: Window, session: ReviewSession) -> None:
    window.layers.layer(2).visible = False
    session.reject((4,))
    camera = camera_of(window.viewer)
    camera.zoom = 8
    camera.center = (20, 80)
    height, width = (side / 8 / 2 for side in (window.canvas.height(), window.canvas.width()))
    expected = {
        i
        for i, cell in session.cells.items()
        if abs(middle(session, i)[0] - 20) < height
        and abs(middle(session, i)[1] - 80) < width
        and cell.class_id != 2
        and i != 4
    }
    window.type_key(Qt.Key_A, Qt.ShiftModifier)
    accepted = {i for i, cell in session.cells.items() if cell.status is Status.ACCEPTED}
    assert accepted == expected
    assert f"{len(expected)} cells in view accepted" in window.viewer.status
    window.type_key(Qt.Key_Z, Qt.ControlModifier)
    assert not any(cell.status is Status.ACCEPTED for cell in session.cells.values())
    assert session.cells[4].status is Status.REJECTED
    window.layers.layer(2).visible = True


def test_masks_are_hidden_while_h_is_held(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    window.layers.layer(3).opacity = 0.7
    QTest.keyPress(window.canvas, Qt.Key_H)
    assert [layer.opacity for layer in window.layers] == [0] * 4
    assert all(layer.visible for layer in window.layers)
    for send in (QTest.keyRelease, QTest.keyPress):  # the key repeats
        send(window.canvas, Qt.Key_H)
    pump(0.1)
    assert window.layers.layer(1).opacity == 0
    QTest.keyRelease(window.canvas, Qt.Key_H)
    wait_until(lambda: window.layers.layer(1).opacity == 1)
    opacities = [layer.opacity for layer in window.layers]
    window.layers.layer(3).opacity = 1
    assert opacities == [1, 1, 0.7, 1]


def test_masks_come_back_when_another_window_takes_the_keyboard(
    window: Window,
    session: ReviewSession,  # noqa: ARG001
) -> None:
    from qtpy.QtCore import QEvent

    QTest.keyPress(window.canvas, Qt.Key_H)
    QApplication.sendEvent(window.state.window, QEvent(QEvent.WindowDeactivate))
    assert [layer.opacity for layer in window.layers] == [1] * 4
    QTest.keyRelease(window.canvas, Qt.Key_H)


def test_o_shows_outlines_only_and_fills_again(window: Window, session: ReviewSession) -> None:  # noqa: ARG001
    layer = window.layers.layer(1)
    drawn = layer.shown.copy()

    def alphas() -> tuple[float, float]:
        """Of the fill, and of the contour, of a cell that is not selected."""
        colours = layer.colormap.colors
        return float(colours[1, 3]), float(colours[128, 3])

    filled = alphas()
    window.layers.contour = 0
    window.type_key(Qt.Key_O)
    assert alphas() == (0, 1)
    assert window.layers.contour == 1, "without it nothing would be seen"
    window.type_key(Qt.Key_O)
    assert alphas() == filled
    assert np.array_equal(layer.shown, drawn)

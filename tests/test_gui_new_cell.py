"""Clicking missed cells with the real keyboard, mouse and wheel, and once with the real engine process."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_cellseg.engine_process.tasks import Prompt
from napari_cellseg.errors import EngineError
from napari_cellseg.gui.canvas.camera import camera_of, fit_image
from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.prompts import CellAnswer, Way
from napari_cellseg.review import Cell, ReviewSession, Status
from tests.real_mouse import Mouse
from tests.review_window import CLASSES, SIZE, Window, disk, make_session, pump

pytestmark = pytest.mark.gui

PLACE = (60, 100)
"""y, x of a nucleus that no shown cell covers."""


class StandInEngine:
    """Answers with disks of three sizes around the point, or with one that fills the drawn box."""

    def __init__(self) -> None:
        self.asked: list[Prompt] = []
        self.answers = True
        self.error: Exception | None = None
        self.is_held = False

    def run(self, task: Prompt) -> Generator[None, None, CellAnswer | None]:
        yield None
        if task.prompt is None:
            return None
        self.asked.append(task)
        while self.is_held:
            yield None
        if self.error is not None:
            raise self.error
        if not self.answers:
            return None
        if task.prompt.drawn is not None:
            x0, y0, x1, _ = (round(value) for value in task.prompt.drawn)
            disks, corners = [disk(x1 - x0)], [(x0, y0)]
        else:
            assert task.prompt.point is not None
            y, x = (round(value) for value in task.prompt.point)
            disks = [disk(diameter) for diameter in (9, 13, 17)]
            corners = [(x - diameter // 2, y - diameter // 2) for diameter in (9, 13, 17)]
        sizes = InstanceMasks.from_crops(task.prompt.image_size, corners, disks, np.full(len(disks), 3))
        return CellAnswer(sizes=sizes, first=len(disks) // 2, way=Way.HEADS, classes=CLASSES)


@pytest.fixture
def engine(window: Window, monkeypatch: pytest.MonkeyPatch) -> StandInEngine:
    made = StandInEngine()
    monkeypatch.setattr(window.review.new_cell._finder, "_engine", made)
    return made


def tissue() -> np.ndarray:
    rgb = np.random.default_rng(0).normal((225, 175, 205), 4, (*SIZE, 3))
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    rgb[(rows - PLACE[0]) ** 2 + (columns - PLACE[1]) ** 2 <= 64] = (100, 70, 145)
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.fixture
def session(window: Window, engine: StandInEngine) -> Iterator[ReviewSession]:  # noqa: ARG001
    made = make_session()
    made.delete([8, 13])  # those near the place
    opened = window.open(made, tissue())
    pump(0.2)
    fit_image(window.viewer, SIZE)
    yield opened
    window.review.tools.point()


@pytest.fixture
def mouse(window: Window) -> Mouse:
    return Mouse(window)


def press(window: Window, key: Any, modifier: Any = Qt.NoModifier) -> None:
    QTest.keyClick(window.canvas, key, modifier)
    pump(0.03)


def turn_wheel(window: Window, mouse: Mouse, up: int) -> None:
    at = mouse._on_screen(*PLACE)
    where = QPointF(window.canvas.mapToGlobal(at))
    event = QWheelEvent(
        QPointF(at), where, QPoint(), QPoint(0, 120 * up), Qt.NoButton, Qt.NoModifier, Qt.NoScrollPhase, False
    )
    QApplication.sendEvent(window.canvas, event)
    pump(0.03)


def settle(window: Window) -> None:
    """Wait until the question is answered."""
    for _ in range(300):
        pump(0.02)
        if not window.review.new_cell._finder.job.is_busy:
            pump(0.02)
            return
    raise AssertionError("no answer")


def click(window: Window, mouse: Mouse, y: float = PLACE[0], x: float = PLACE[1]) -> None:
    mouse.click(y, x)
    settle(window)
    pump(0.35)  # else two clicks are a double click


def test_c_a_click_and_a_add_a_cell_and_the_next_needs_two_actions(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    press(window, Qt.Key_C)
    assert window.review.tools.tool is Tool.CELL
    for added, x in ((1, 100), (2, 80)):
        click(window, mouse, 60, x)
        assert window.review.new_cell.is_shown
        assert "epithelial" in window.review.new_cell.hint
        before = len(session.cells)
        press(window, Qt.Key_A)
        assert len(session.cells) == before + 1
        new = session.cells[20 + added]
        assert (new.class_id, new.status, new.covers(60, x)) == (3, Status.EDITED, True)
        assert new.area == disk(13).sum()
        assert window.review.tools.tool is Tool.CELL
        assert not window.review.new_cell.is_shown
    assert session.undo_text == "add #22"
    press(window, Qt.Key_Z, Qt.ControlModifier)
    assert 22 not in session.cells
    assert 21 in session.cells


def test_pixels_of_an_accepted_neighbour_are_left_out_and_the_user_is_told(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    session.accept([7])  # 50..70 in x, and y
    press(window, Qt.Key_C)
    click(window, mouse, 60, 72)
    assert " px at #7 left out." in window.review.new_cell.hint
    press(window, Qt.Key_A)
    new = session.cells[21]
    assert 0 < new.area < disk(13).sum()
    assert session.cells[7].area == disk(20).sum()
    assert not any(session.cells[7].covers(y, x) and new.covers(y, x) for y in range(50, 70) for x in range(60, 80))
    assert window.review.new_cell.hint.startswith("#21 added: epithelial.")
    assert f"{disk(13).sum() - new.area} px at #7 left out." in window.review.new_cell.hint


def test_the_wheel_and_the_brackets_resize_and_a_digit_sets_the_class(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    zoom = camera_of(window.viewer).zoom
    press(window, Qt.Key_C)
    click(window, mouse)
    turn_wheel(window, mouse, 1)
    assert "size 3 of 3" in window.review.new_cell.hint
    turn_wheel(window, mouse, 1)
    assert "size 3 of 3" in window.review.new_cell.hint
    press(window, Qt.Key_BracketLeft)
    press(window, Qt.Key_BracketLeft)
    assert "size 1 of 3" in window.review.new_cell.hint
    press(window, Qt.Key_BracketRight)
    turn_wheel(window, mouse, 1)
    assert camera_of(window.viewer).zoom == zoom, "the wheel zooms only while no new cell is shown"
    press(window, Qt.Key_2)
    assert "inflammatory" in window.review.new_cell.hint
    press(window, Qt.Key_A)
    assert session.cells[21].class_id == 2
    assert session.cells[21].area == disk(17).sum()
    turn_wheel(window, mouse, 1)
    assert camera_of(window.viewer).zoom != zoom


def test_escape_drops_the_cell_and_then_ends_the_tool(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    before = set(session.cells)
    press(window, Qt.Key_C)
    click(window, mouse)
    press(window, Qt.Key_Escape)
    assert not window.review.new_cell.is_shown
    assert not window.viewer.layers["sketch"].visible
    assert window.review.tools.tool is Tool.CELL
    press(window, Qt.Key_Escape)
    assert window.review.tools.tool is Tool.POINT
    assert set(session.cells) == before


def test_undo_drops_a_cell_that_is_not_accepted_and_nothing_else(
    window: Window, session: ReviewSession, mouse: Mouse
) -> None:
    text = session.undo_text
    press(window, Qt.Key_C)
    click(window, mouse)
    press(window, Qt.Key_Z, Qt.ControlModifier)
    assert not window.review.new_cell.is_shown
    assert session.undo_text == text


def test_a_click_on_a_cell_selects_it(
    window: Window, session: ReviewSession, mouse: Mouse, engine: StandInEngine
) -> None:
    press(window, Qt.Key_C)
    click(window, mouse, 20, 20)
    assert window.state.selection == (1,)
    assert "#1 is there already" in window.review.new_cell.hint
    assert not engine.asked
    press(window, Qt.Key_A)
    assert session.cells[1].status is Status.ACCEPTED


def test_a_drag_gives_the_box(window: Window, session: ReviewSession, mouse: Mouse, engine: StandInEngine) -> None:
    press(window, Qt.Key_C)
    centre = camera_of(window.viewer).center
    mouse.drag([(50, 90), (60, 100), (69, 109)])
    settle(window)
    assert camera_of(window.viewer).center == centre, "a drag does not pan"
    (asked,) = engine.asked
    assert asked.prompt is not None
    assert asked.prompt.drawn is not None
    assert np.allclose(asked.prompt.drawn, (90.5, 50.5, 109.5, 69.5), atol=1.5)
    press(window, Qt.Key_A)
    assert session.cells[21].covers(60, 100)


def test_a_proposal_below_the_minimum_score_shows_immediately_and_its_twin_leaves_with_the_added_cell(
    window: Window, session: ReviewSession, mouse: Mouse, engine: StandInEngine
) -> None:
    hidden = replace(
        session.cells[1],
        cell_id=30,
        class_id=2,
        score=0.1,
        box=(92, 52, 108, 68),
        mask=disk(16),
        status=Status.PROPOSED,
    )
    session.restore([*session.cells.values(), hidden], "a proposal")
    window.state.set_min_scores({2: 0.2})
    engine.is_held = True
    press(window, Qt.Key_C)
    mouse.click(*PLACE)
    assert window.review.new_cell.is_shown, "before the model has answered"
    assert "a proposal below the minimum score" in window.review.new_cell.hint
    engine.is_held = False
    settle(window)
    assert "size 2 of 3" in window.review.new_cell.hint
    (asked,) = engine.asked
    assert asked.prompt is not None
    assert asked.prompt.proposals == [(92, 52, 108, 68)]
    press(window, Qt.Key_A)
    assert 30 not in session.cells
    press(window, Qt.Key_Z, Qt.ControlModifier)
    assert 30 in session.cells, "one undo brings it back"
    window.state.set_min_scores({})


def test_where_the_model_sees_nothing_the_stain_answers_and_where_nothing_is_the_user_is_told(
    window: Window, session: ReviewSession, mouse: Mouse, engine: StandInEngine
) -> None:
    engine.answers = False
    press(window, Qt.Key_C)
    click(window, mouse)
    assert "from the stain" in window.review.new_cell.hint
    press(window, Qt.Key_A)
    area = session.cells[21].area
    assert 0.6 * 201 < area < 1.4 * 201, "a disk of 16 px"
    click(window, mouse, 80, 160)
    assert not window.review.new_cell.is_shown
    assert "No cell found here" in window.review.new_cell.hint
    assert "draw it: M" in window.review.new_cell.hint
    assert notification_manager.records[-1].message == window.review.new_cell.hint


def test_an_error_of_the_engine_is_told_and_the_stain_answers(
    window: Window, session: ReviewSession, mouse: Mouse, engine: StandInEngine
) -> None:
    engine.error = EngineError("The engine process was killed.")
    press(window, Qt.Key_C)
    click(window, mouse)
    assert "from the stain (The engine process was killed.)" in window.review.new_cell.hint
    assert len(session.cells) == 18


@pytest.mark.usefixtures("session")
def test_a_new_click_near_the_last_one_uses_the_same_region(
    window: Window,
    mouse: Mouse,
    engine: StandInEngine,
) -> None:
    press(window, Qt.Key_C)
    click(window, mouse)
    click(window, mouse, 60, 80)
    first, second = (task.prompt for task in engine.asked)
    assert first is not None
    assert second is not None
    assert (first.region, first.image_key) == (second.region, second.image_key)
    assert first.taken[20 - first.region[1], 60 - first.region[0]], "cell 2 is there"


def test_another_tool_or_image_ends_it(window: Window, session: ReviewSession, mouse: Mouse) -> None:
    before = len(session.cells)
    press(window, Qt.Key_C)
    click(window, mouse)
    press(window, Qt.Key_V)
    assert not window.review.new_cell.is_shown
    assert camera_of(window.viewer).mouse_zoom
    press(window, Qt.Key_C)
    click(window, mouse)
    other = window.open()
    assert window.review.tools.tool is Tool.POINT
    assert not window.review.new_cell.is_shown
    assert len(session.cells) == before
    assert len(other.cells) == 20


def test_the_button_starts_it_and_the_dock_says_what_to_do(
    window: Window,
    session: ReviewSession,
    mouse: Mouse,
) -> None:
    dock = window.dock("Review")
    dock.refresh()
    assert dock.buttons["click_cell"].text() == "Missed C"
    QTest.mouseClick(dock.buttons["click_cell"], Qt.LeftButton)
    dock.refresh()
    assert dock.buttons["click_cell"].isChecked()
    assert "Click a missed cell" in dock._hint.text()
    fit_image(window.viewer, SIZE)
    click(window, mouse)
    dock.refresh()
    assert "A adds it" in dock._hint.text()
    QTest.mouseClick(dock.buttons["accept"], Qt.LeftButton)
    assert 21 in session.cells


@pytest.mark.slow  # by default, tests/test_prompted.py asks the model, and test_viewer_first.py an engine in a window
def test_the_model_answers_in_the_engine_process(window: Window, mouse: Mouse) -> None:
    cells: list[Cell] = []
    made = ReviewSession(SIZE, CLASSES, cells, user="tester", clock=lambda: 1.0)
    window.open(made, tissue())
    fit_image(window.viewer, SIZE)
    press(window, Qt.Key_C)
    mouse.click(*PLACE)
    finder = window.review.new_cell._finder
    for _ in range(3000):
        pump(0.02)
        if not finder.job.is_busy and window.review.new_cell.is_shown:
            break
    assert "the model" in window.review.new_cell.hint
    press(window, Qt.Key_A)
    (cell,) = made.cells.values()
    assert cell.covers(*PLACE)
    assert 100 < cell.area < 400
    window.review.tools.point()
    window.review.new_cell._finder._engine.shutdown()

"""Cells appear tile by tile and are reviewed meanwhile, with real keys and the real mouse."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from real_mouse import Mouse
from review_window import CLASSES, SIZE, Window, disk, pump, wait_until

from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.errors import EngineError
from napari_cellseg.events import CellsSoFar, ImageDone, ModelReady, PredictEvent, PredictSummary, TileDone
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.workflow import front_dock, show_dock
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.review import ReviewSession, Status

pytestmark = pytest.mark.gui

FOUND = InstanceMasks.from_crops(
    SIZE,
    [[10 + 40 * (i % 5), 10 + 40 * (i // 5)] for i in range(20)],
    [disk(20)] * 20,
    [1 + i % 4 for i in range(20)],
    np.linspace(0.9, 0.5, 20, dtype=np.float32),
)
LEFT, RIGHT = (0, 0, 110, 160), (85, 0, 200, 160)
FIRST = FOUND.select(FOUND.boxes[:, 2] <= 110)  # three columns; the third reaches into the right tile
READY = ModelReady(model_name="lite", class_names=CLASSES.names, device="cpu", reason="auto: CPU", seconds=0.1)
HALF = CellsSoFar.of(TileDone(image=1, images=1, tile=1, tiles=2, cells=12), FIRST, [RIGHT])
DONE = ImageDone(image=1, images=1, image_id="tissue", instances=FOUND, seconds=1.0)


class Tap:
    """Stands where the engine process is: gives each event when the test says so."""

    def __init__(self) -> None:
        self.events: queue.Queue[PredictEvent | Exception | None] = queue.Queue()
        self.asked: list[Predict] = []

    def __call__(self, task: Predict) -> Generator[PredictEvent | None, None, PredictSummary]:
        self.asked.append(task)
        while True:
            try:
                event = self.events.get(timeout=0.02)
            except queue.Empty:
                yield None
                continue
            if isinstance(event, Exception):
                raise event
            if event is None:
                return PredictSummary(1, 0, 20, 1.0)
            yield event


class Run:
    """A prediction that waits for its first tile."""

    def __init__(self, window: Window) -> None:
        self.window, self.session = window, window.open(ReviewSession(SIZE, CLASSES, user="tester"))
        self.segmentation = plugin_of(window.viewer).segmentation
        self.dock: Any = show_dock(window.viewer, "Segment")
        window.state.set_min_scores({})
        pump(0.1)
        self.tap = Tap()
        self.dock._front = front_dock(window.state.window)
        self.segmentation.engine.run = self.tap
        self.segmentation.start(PredictOptions(), CLASSES, "lite", None)
        self.give(READY)

    def give(self, event: PredictEvent | Exception | None) -> None:
        self.tap.events.put(event)

    def half(self) -> None:
        """Let the left tile be done."""
        self.give(HALF)
        wait_until(lambda: self.session.count() == 8)
        self.window.review.queue.finish()
        pump(0.15)

    def end(self) -> None:
        self.give(DONE)
        self.give(None)
        wait_until(lambda: not self.segmentation.job.is_busy)
        pump(0.15)


@pytest.fixture
def run(window: Window) -> Iterator[Run]:
    engine = plugin_of(window.viewer).segmentation.engine
    made = Run(window)
    yield made
    made.segmentation.job.shutdown()
    del engine.run


def press(window: Window, key: Any, modifier: Any = Qt.NoModifier) -> None:
    QTest.keyClick(window.canvas, key, modifier)
    pump(0.1)


def test_the_middle_of_the_view_goes_along_with_the_request(window: Window, run: Run) -> None:
    wait_until(lambda: run.tap.asked)
    (item,) = run.tap.asked[0].items
    y, x = camera_of(window.viewer).center[-2:]
    assert item.centre == (y, x)


def test_cells_are_decided_while_others_arrive_and_undo_takes_back_decision_and_run(window: Window, run: Run) -> None:
    assert not run.session.cells
    run.half()
    assert all(cell.box[2] <= RIGHT[0] for cell in run.session.cells.values()), "half a cell is not shown"
    layer = window.layers.layer(1)
    assert len(np.unique(layer.data)) > 1, "they are on the canvas"
    assert front_dock(window.state.window).windowTitle().endswith("Review")
    press(window, Qt.Key_N)
    chosen = window.state.selection[0]
    press(window, Qt.Key_A)
    assert run.session.cells[chosen].status is Status.ACCEPTED
    assert run.segmentation.job.is_busy

    run.end()
    assert run.session.cells[chosen].status is Status.ACCEPTED
    assert len(run.session.cells) == 20
    text = run.dock.row.message.text()
    assert text.startswith("19 new cells above the minimum score; 1 reviewed cell kept")

    press(window, Qt.Key_Z, Qt.ControlModifier)
    assert run.session.cells[chosen].status is Status.PROPOSED
    press(window, Qt.Key_Z, Qt.ControlModifier)
    assert not run.session.cells


def test_stop_keeps_the_cells_of_the_finished_tiles_and_says_how_many(window: Window, run: Run) -> None:
    run.half()
    line = plugin_of(window.viewer).work_bar.line
    assert line is not None
    wait_until(line.stop_button.isVisible)
    QTest.mouseClick(line.stop_button, Qt.LeftButton)
    wait_until(lambda: not run.segmentation.job.is_busy)
    assert len(run.session.cells) == len(FIRST), "with those at the edge of the finished tile"
    assert run.dock.row.message.text() == "Stopped: the cells of 1 of 2 tiles are kept."
    press(window, Qt.Key_Z, Qt.ControlModifier)
    assert not run.session.cells


def test_a_failure_keeps_the_cells_of_the_finished_tiles(run: Run) -> None:
    run.half()
    run.give(EngineError("The engine process crashed (SIGSEGV)."))
    wait_until(lambda: not run.segmentation.job.is_busy)
    assert len(run.session.cells) == len(FIRST)
    text = run.dock.row.message.text()
    assert text == "Failed: The engine process crashed (SIGSEGV). The cells of 1 of 2 tiles are kept."


def test_undo_of_the_cells_that_arrived_stops_the_run(window: Window, run: Run) -> None:
    run.half()
    press(window, Qt.Key_Z, Qt.ControlModifier)
    wait_until(lambda: not run.segmentation.job.is_busy)
    assert not run.session.cells
    assert run.dock.row.message.text().startswith("Stopped after")
    press(window, Qt.Key_Y, Qt.ControlModifier)
    assert len(run.session.cells) == 8


def test_cells_that_arrive_during_a_stroke_wait_for_its_end(window: Window, run: Run) -> None:
    """The stroke holds the id of a new cell, which the next cell of the model would get."""
    run.half()
    window.review.draw_new()
    pump(0.2)
    mouse, canvas = Mouse(window), window.canvas
    places = [mouse._on_screen(y, x) for y, x in ((40, 150), (40, 160), (40, 170))]
    QTest.mousePress(canvas, Qt.LeftButton, Qt.NoModifier, places[0])
    mouse._move(places[1], Qt.NoModifier)
    run.give(DONE)
    run.give(None)
    wait_until(lambda: not run.segmentation.job.is_busy)
    pump(0.2)
    assert len(run.session.cells) == 8
    mouse._move(places[2], Qt.NoModifier)
    QTest.mouseRelease(canvas, Qt.LeftButton, Qt.NoModifier, places[2])
    wait_until(lambda: len(run.session.cells) >= 20)
    (drawn,) = [cell for cell in run.session.cells.values() if cell.status is Status.EDITED]
    assert drawn.box[1] < 40 < drawn.box[3]
    assert drawn.box[2] - drawn.box[0] >= 20
    models = [cell for cell in run.session.cells.values() if cell.status is Status.PROPOSED]
    assert all(cell.area == disk(20).sum() for cell in models)

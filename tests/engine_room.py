"""A job over the engine, as in the docks, without a window."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_cellseg.engine_process.tasks import Task
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.state import AppState

LONG_MS = 240_000
"""For what takes seconds, on a machine that has much else to do."""


class EngineRoom:
    """An engine with one job that can be paused, and all that the job told."""

    def __init__(self) -> None:
        self.state = AppState(ViewerModel())
        self.engine = Engine(self.state)
        self.job = Job(self.state, "training", self.engine.hold)
        self.events: list[Any] = []
        self.results: list[Any] = []
        self.errors: list[Exception] = []
        self.job.reported.connect(self.events.append)
        self.job.finished.connect(self.results.append)
        self.job.failed.connect(self.errors.append)

    @property
    def process(self) -> psutil.Process:
        """The engine process."""
        process_id = self.engine.process_id
        assert process_id is not None
        return psutil.Process(process_id)

    def start(self, task: Task[Any, Any]) -> None:
        """Forget what was told, and start a task."""
        for told in (self.events, self.results, self.errors):
            told.clear()
        run = self.engine.run
        self.job.start(lambda: run(task))

    def wait_for(self, qtbot: QtBot, *kinds: type) -> None:
        """Wait until an event of one of these types was told, or the job ended."""
        seen = 0

        def is_told() -> bool:
            nonlocal seen
            new, seen = self.events[seen:], len(self.events)
            return any(isinstance(event, kinds) for event in new) or not self.job.is_busy

        qtbot.waitUntil(is_told, timeout=LONG_MS)
        assert self.job.is_busy, f"{self.job.state}: {self.job.error} {getattr(self.job.error, 'details', '')}"

    def wait_for_end(self, qtbot: QtBot) -> JobState:
        """Wait until the job is over; return how it ended."""
        qtbot.waitUntil(lambda: not self.job.is_busy, timeout=LONG_MS)
        return self.job.state

    def stop(self, qtbot: QtBot) -> tuple[float, float]:
        """Stop; return the seconds until the job said that it stops, and until it had."""
        begin = time.perf_counter()
        assert self.job.stop()
        felt = time.perf_counter() - begin
        assert self.job.state is JobState.STOPPING
        assert self.wait_for_end(qtbot) is JobState.STOPPED
        return felt, time.perf_counter() - begin

    def close(self) -> None:
        """Close the viewer."""
        self.state.close()


def wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait without a window; return whether it came to be."""
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()

"""`Job`: runs one long generator at a time in a thread, and reports to the window.

napari's and superqt's generator workers are not used: they leave the generator open when they are stopped, so its
``finally`` runs at some garbage collection on the main thread; one that raises `RuntimeError` (a graphics card out of
memory, for example) reports neither failure nor end; and `SystemExit` in one keeps `napari.run` from ever returning.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.engine_process.messages import to_cellseg_error
from napari_cellseg.engine_process.pausing import pausable
from napari_cellseg.errors import CellSegError
from napari_cellseg.events import Paused, Progress, Resumed

if TYPE_CHECKING:
    from napari_cellseg.gui.state import AppState

__all__ = ["Job", "JobState"]

_LOG = logging.getLogger(__name__)

UPDATE_MS = 50
"""Time between two looks at what the thread reported: 20 updates of the window a second."""


class JobState(Enum):
    """What a job does; the value is how to say it."""

    IDLE = "Idle"
    STARTING = "Starting"
    RUNNING = "Running"
    PAUSING = "Pausing..."
    PAUSED = "Paused"
    STOPPING = "Stopping..."
    STOPPED = "Stopped"
    FAILED = "Failed"
    FINISHED = "Finished"

    @property
    def is_busy(self) -> bool:
        """Whether a generator is at work."""
        return self not in (JobState.IDLE, JobState.STOPPED, JobState.FAILED, JobState.FINISHED)

    @property
    def can_pause(self) -> bool:
        """Whether `Job.pause` would do something."""
        return self in (JobState.STARTING, JobState.RUNNING)

    @property
    def can_resume(self) -> bool:
        """Whether `Job.resume` would do something."""
        return self in (JobState.PAUSING, JobState.PAUSED)


class _Run:
    """One generator and its thread. The thread writes to it, the window reads."""

    def __init__(self, make: Callable[[], Generator[Any, None, Any]], wake: Callable[[_Run], None]) -> None:
        self.stop = threading.Event()
        self.events: deque[Any] = deque()
        self.result: Any = None
        self.error: CellSegError | None = None
        self.end = JobState.STOPPED
        self.thread = threading.Thread(target=self._work, args=(make, wake), name="job", daemon=True)

    def _work(self, make: Callable[[], Generator[Any, None, Any]], wake: Callable[[_Run], None]) -> None:
        try:
            self._drive(make())
        except BaseException as error:  # noqa: BLE001 - SystemExit too: whatever ends a job must be seen
            self.error = to_cellseg_error(error)
            self.end = JobState.FAILED
        with suppress(RuntimeError):  # the window is gone, and with it the C++ side of the job
            wake(self)

    def _drive(self, generator: Generator[Any, None, Any]) -> None:
        try:
            while not self.stop.is_set():
                try:
                    event = next(generator)
                except StopIteration as end:
                    self.result, self.end = end.value, JobState.FINISHED
                    return
                if event is not None:  # None is a chance to stop
                    self.events.append(event)
        finally:
            generator.close()


class Job(QObject):
    """Long work of one kind, such as predicting; at most one run of it counts at a time.

    Signals arrive in the window's thread, and never from a run that was replaced by a newer `start`. Progress events
    (tiles, steps) that pile up between two updates of the window are left out but for the last; all others arrive.

    Parameters
    ----------
    state : AppState
        Its ``closing`` ends the job; its viewer asks before it closes while the job is busy.
    title : str
        What the viewer says it is waiting for, for example "segmenting cells".
    hold : threading.Event, optional
        What its generators obey by themselves, that is `Engine.hold`, so that the engine process really holds. When
        left out, the job holds them: it does not go on to their next event.
    """

    changed = Signal()
    """`state` is another one."""
    reported = Signal(object)
    """What the generator yielded."""
    finished = Signal(object)
    """What the generator returned; not sent when it was stopped or failed."""
    failed = Signal(object)
    """The `CellSegError`."""
    _over = Signal(object)

    def __init__(self, state: AppState, title: str, hold: threading.Event | None = None) -> None:
        super().__init__(state)
        self.title = title
        self._hold = hold or threading.Event()
        self._holds_by_itself = hold is None
        self.state = JobState.IDLE
        self.error: CellSegError | None = None
        self._run: _Run | None = None
        self._has_begun = self._is_holding = False
        self._started = self._ended = 0.0
        self._paused_at = self._paused_s = 0.0
        self.window: Any = getattr(state.viewer, "window", None)
        self._entry = _TaskManagerEntry(self.window)
        self._timer = QTimer(self)
        self._timer.setInterval(UPDATE_MS)
        self._timer.timeout.connect(self._deliver)
        self._over.connect(self._finish)
        state.closing.connect(self.shutdown)

    @property
    def is_busy(self) -> bool:
        """Whether a generator is at work."""
        return self.state.is_busy

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, or between start and end; without the time it was paused."""
        now = time.monotonic() if self.is_busy else self._ended
        paused_s = self._paused_s + (now - self._paused_at if self.state is JobState.PAUSED else 0.0)
        return now - self._started - paused_s

    def start(self, make: Callable[[], Generator[Any, None, Any]]) -> None:
        """Run the generator that ``make`` makes, in place of one that still runs.

        ``make`` is called in the thread; neither it nor the generator may touch a widget or a layer.
        """
        if self._run is not None:
            self._run.stop.set()
            self._release()
        self.error = None
        self._has_begun = False
        self._started, self._paused_s = time.monotonic(), 0.0
        make_held = (lambda: pausable(make(), self._hold)) if self._holds_by_itself else make
        self._run = _Run(make_held, self._over.emit)
        self._entry.begin(self.title, self.stop)
        self._set(JobState.STARTING)
        self._timer.start()
        self._run.thread.start()

    def stop(self) -> bool:
        """Ask the run to stop; returns at once, and whether there was one. A paused run stops as well."""
        if self._run is None or not self.is_busy:
            return False
        self._run.stop.set()
        self._set(JobState.STOPPING)
        return True

    def pause(self) -> bool:
        """Ask the run to hold at its next event; returns at once, and whether there was one to hold.

        The state is PAUSING until the run really holds, then PAUSED: it uses no processor, but keeps its memory.
        """
        if not self.state.can_pause:
            return False
        self._is_holding = True
        self._hold.set()
        self._set(JobState.PAUSING)
        return True

    def resume(self) -> bool:
        """Let a paused run go on; returns whether there was one."""
        if not self.state.can_resume:
            return False
        self._release()
        self._set(JobState.RUNNING if self._has_begun else JobState.STARTING)
        return True

    def shutdown(self, wait_s: float = 4.0) -> None:
        """Stop, and wait until the thread is done."""
        run = self._run
        if self.stop() and run is not None:
            run.thread.join(wait_s)
            if run.thread.is_alive():
                _LOG.warning("%s did not end within %.0f s", self.title, wait_s)
            else:
                self._finish(run)

    def _deliver(self) -> None:
        run = self._run
        if run is None:
            return
        for _ in range(len(run.events)):
            if not run.events:  # a listener let Qt run its events, among them this method
                return
            event = run.events.popleft()
            if isinstance(event, Paused | Resumed):
                self._set_held(isinstance(event, Paused))
                continue
            if isinstance(event, Progress) and run.events and type(run.events[0]) is type(event):
                continue
            self._has_begun = True
            if self.state is JobState.STARTING:
                self._set(JobState.RUNNING)
            self.reported.emit(event)
            if run is not self._run:  # whoever got the event started another run
                return

    def _set_held(self, is_held: bool) -> None:
        """Say that the run holds, or goes on; what it says may be of an earlier press of the button."""
        if is_held and self.state is JobState.PAUSING:
            self._set(JobState.PAUSED)
        elif not is_held and self.state is JobState.PAUSED:
            self._set(JobState.PAUSING)

    def _release(self) -> None:
        """Leave no hold behind; one that another job of the same engine asked for stays."""
        if self._is_holding:
            self._hold.clear()
            self._is_holding = False

    def _finish(self, run: _Run) -> None:
        if run is not self._run:  # a newer one took its place, or its end was seen already
            return
        self._deliver()
        if run is not self._run:
            return
        self._run = None
        self._release()
        self._timer.stop()
        self._ended = time.monotonic()
        self.error = run.error
        self._entry.end()
        self._set(run.end)
        if run.error is not None:
            _LOG.info("%s failed: %s\n%s", self.title, run.error, run.error.details)
            self.failed.emit(run.error)
        elif run.end is JobState.FINISHED:
            self.finished.emit(run.result)

    def _set(self, state: JobState) -> None:
        if state is self.state:
            return
        now = time.monotonic()
        if self.state is JobState.PAUSED:
            self._paused_s += now - self._paused_at
        self._paused_at = now
        self.state = state
        self.changed.emit()


class _TaskManagerEntry:
    """A line in napari's list of running tasks, for which it asks before closing; nothing where napari has no list."""

    def __init__(self, window: Any) -> None:
        self._window = window
        self._id: Any = None

    def begin(self, title: str, cancel: Callable[[], bool]) -> None:
        self.end()
        register = getattr(self._window, "_register_task_status", None)
        if register is not None:
            from napari.utils.task_status import Status

            self._id = register("napari-cellseg", Status.BUSY, title, cancel)

    def end(self) -> None:
        if self._id is not None:
            from napari.utils.task_status import Status

            self._window._update_task_status(self._id, Status.COMPLETED)
            self._id = None

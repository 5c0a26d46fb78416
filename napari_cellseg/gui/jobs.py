"""`Job`: runs one long generator at a time in a thread, and reports to the window.

napari's and superqt's generator workers are not used: they leave the generator open when they are stopped, so its
``finally`` runs at some garbage collection on the main thread; one that raises `RuntimeError` (a graphics card out of
memory, for example) reports neither failure nor end; and `SystemExit` in one keeps `napari.run` from ever returning.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_cellseg.engine_process.pausing import pausable
from napari_cellseg.errors import CellSegError
from napari_cellseg.events import Paused, Progress, Resumed
from napari_cellseg.gui.job_clock import CLOSE_S, JobClock
from napari_cellseg.gui.job_thread import JobThread

if TYPE_CHECKING:
    from napari_cellseg.gui.state import AppState

__all__ = ["Job", "JobState"]

_LOG = logging.getLogger(__name__)


class JobState(Enum):
    """The state of a job; the value is its text."""

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
        """Return whether a generator is running."""
        return self not in (JobState.IDLE, JobState.STOPPED, JobState.FAILED, JobState.FINISHED)

    @property
    def can_pause(self) -> bool:
        """Return whether `Job.pause` has an effect."""
        return self in (JobState.STARTING, JobState.RUNNING)

    @property
    def can_resume(self) -> bool:
        """Return whether `Job.resume` has an effect."""
        return self in (JobState.PAUSING, JobState.PAUSED)


class Job(QObject):
    """Long work of one kind, such as prediction; at most one run is current.

    Signals arrive in the window's thread, and never from a run that was replaced by a newer `start`. Progress events
    (tiles, steps) between two updates of the window are reduced to the last one; all others arrive.

    Parameters
    ----------
    state : AppState
        Its ``closing`` ends the job; its viewer asks before it closes while the job is busy.
    title : str
        Shown while the viewer waits, for example "segmenting cells".
    hold : threading.Event, optional
        The pause flag that the generator checks itself (`Engine.hold`), so that the engine process really pauses.
        Without it, the job pauses: it does not request the next event.
    on_close : str or callable
        One sentence on what happens to a run when the viewer closes, or a function that returns it; shown before the
        viewer closes. Empty for work that only displays something.
    """

    changed = Signal()
    """Emitted when `state` changes."""
    reported = Signal(object)
    """Carries an event that the generator yielded."""
    finished = Signal(object)
    """Carries the return value of the generator; not emitted after a stop or a failure."""
    failed = Signal(object)
    """The `CellSegError`."""

    def __init__(
        self,
        state: AppState,
        title: str,
        hold: threading.Event | None = None,
        *,
        on_close: str | Callable[[], str] = "",
    ) -> None:
        super().__init__(state)
        self.title = title
        self._on_close = on_close
        self._hold = hold or threading.Event()
        self._holds_by_itself = hold is None
        self.state = JobState.IDLE
        self.error: CellSegError | None = None
        self._run: JobThread | None = None
        self._replaced: list[JobThread] = []
        self._has_begun = self._is_holding = False
        self._started = self._ended = 0.0
        self._paused_at = self._paused_s = 0.0
        self._tell: Callable[[CellSegError], object] | None = None
        self._is_left = False
        self.window: Any = getattr(state.viewer, "window", None)
        self._entry = _TaskManagerEntry(self.window)
        self._clock = JobClock.of(state)

    @property
    def is_busy(self) -> bool:
        """Return whether a generator is running."""
        return self.state.is_busy

    @property
    def on_close(self) -> str:
        """Return one sentence on what happens to the run when the viewer closes; empty if nothing is lost."""
        if not self.is_busy:
            return ""
        return self._on_close if isinstance(self._on_close, str) else self._on_close()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the start, or between start and end, without pauses."""
        now = time.monotonic() if self.is_busy else self._ended
        paused_s = self._paused_s + (now - self._paused_at if self.state is JobState.PAUSED else 0.0)
        return now - self._started - paused_s

    def start(self, make: Callable[[], Generator[Any, None, Any]]) -> None:
        """Run the generator that ``make`` returns; it replaces a running one.

        ``make`` is called in the thread; neither it nor the generator may reach a `QObject`, a layer or the viewer.
        Nothing starts in a viewer that is closing.
        """
        if self._clock.is_closed:
            return
        if self._run is not None:
            self._run.stop()
            self._replaced = [run for run in self._replaced if not run.is_over] + [self._run]
            self._release()
        self.error = None
        self._has_begun = False
        self._started, self._paused_s = time.monotonic(), 0.0
        run = self._run = JobThread(partial(_held, make, self._hold) if self._holds_by_itself else make)
        self._entry.begin(self.title, self.stop)
        self._set(JobState.STARTING)
        self._clock.start(run, partial(self._look, run))

    def stop(self) -> bool:
        """Ask the run to stop and return immediately whether there was one; a paused run stops too."""
        if self._run is None or not self.is_busy:
            return False
        self._run.stop()
        self._set(JobState.STOPPING)
        return True

    def pause(self) -> bool:
        """Ask the run to pause at its next event and return immediately whether there was one.

        The state is PAUSING until the run really pauses, then PAUSED: no CPU time, but the memory stays in use.
        """
        if not self.state.can_pause:
            return False
        self._is_holding = True
        self._hold.set()
        self._set(JobState.PAUSING)
        return True

    def resume(self) -> bool:
        """Resume a paused run; return whether there was one."""
        if not self.state.can_resume:
            return False
        self._release()
        self._set(JobState.RUNNING if self._has_begun else JobState.STARTING)
        return True

    def end_with(self, owner: QObject, tell: Callable[[CellSegError], object]) -> None:
        """Be deleted with ``owner``; if the job runs then, at its end, and ``tell`` gets the error if there is one."""
        self._tell = tell
        owner.destroyed.connect(self._on_owner_gone)

    def shutdown(self, wait_s: float = CLOSE_S) -> None:
        """Stop, and wait until the thread is joined, and those of replaced runs; closing the viewer does the same."""
        self.stop()
        runs = (*self._replaced, *([] if self._run is None else [self._run]))
        self._clock.join(runs, wait_s)

    def _look(self, run: JobThread) -> None:
        """Handle the mailbox of the current run; the mailbox of a replaced run is ignored."""
        is_over = run.is_over  # before the events are taken: nothing comes after it
        if run is self._run:
            self._deliver()
        if is_over:
            self._finish(run)

    def _deliver(self) -> None:
        run = self._run
        if run is None:
            return
        events = run.mailbox.events
        for _ in range(len(events)):
            if not events:  # a listener ran Qt's event loop, and with it this method
                return
            event = events.popleft()
            if isinstance(event, Paused | Resumed):
                self._set_held(isinstance(event, Paused))
                continue
            if isinstance(event, Progress) and events and type(events[0]) is type(event):
                continue
            self._has_begun = True
            if self.state is JobState.STARTING:
                self._set(JobState.RUNNING)
            self.reported.emit(event)
            if run is not self._run:  # the receiver of the event started another run
                return

    def _set_held(self, is_held: bool) -> None:
        """Handle a report that the run paused or resumed; it may answer an earlier press of the button."""
        if is_held and self.state is JobState.PAUSING:
            self._set(JobState.PAUSED)
        elif not is_held and self.state is JobState.PAUSED:
            self._set(JobState.PAUSING)

    def _release(self) -> None:
        """Leave no hold behind; one that another job of the same engine asked for stays."""
        if self._is_holding:
            self._hold.clear()
            self._is_holding = False

    def _finish(self, run: JobThread) -> None:
        if run is not self._run:  # a newer one took its place, or its end was seen already
            return
        mail = run.mailbox
        self._run = None
        self._release()
        self._ended = time.monotonic()
        self.error = mail.error
        self._entry.end()
        if mail.error is not None:
            self._set(JobState.FAILED)
            _LOG.info("%s failed: %s\n%s", self.title, mail.error, mail.error.details)
            self.failed.emit(mail.error)
        elif mail.is_finished:
            self._set(JobState.FINISHED)
            self.finished.emit(mail.result)
        else:
            self._set(JobState.STOPPED)
        if self._is_left:
            self.deleteLater()

    def _on_owner_gone(self) -> None:
        if not self.is_busy:
            self.deleteLater()
            return
        self._is_left = True  # what was asked for is done, as while the owner was there
        if self._tell is not None:
            self.failed.connect(self._tell)

    def _set(self, state: JobState) -> None:
        if state is self.state:
            return
        now = time.monotonic()
        if self.state is JobState.PAUSED:
            self._paused_s += now - self._paused_at
        self._paused_at = now
        self.state = state
        self.changed.emit()


def _held(make: Callable[[], Generator[Any, None, Any]], hold: threading.Event) -> Generator[Any, None, Any]:
    return pausable(make(), hold)


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

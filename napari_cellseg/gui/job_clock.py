"""`JobClock`: reads the mailboxes of all job threads of one viewer, and owns the threads until they are joined."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer

from napari_cellseg.gui.job_thread import JobThread, join_all

__all__ = ["LOOK_MS", "JobClock"]

_LOG = logging.getLogger(__name__)

LOOK_MS = 25
"""Interval between two reads of the mailboxes: events reach the window within a frame or two."""

CLOSE_S = 4.0
"""Time that the closing viewer waits for all of its threads together."""


class JobClock(QObject):
    """One timer for all jobs of a viewer; it runs only while there are threads.

    Use ``JobClock.of(state)``. It is a child of the state, so it lives longer than any of the state's jobs needs it.

    Parameters
    ----------
    state : AppState
        Its ``closing`` stops and joins all threads.

    Attributes
    ----------
    is_closed : bool
        Whether the viewer is closing; then no job starts.
    """

    def __init__(self, state: Any) -> None:
        super().__init__(state)
        self.is_closed = False
        self._looks: dict[JobThread, Callable[[], None]] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        # Queued: Qt holds a timer back while its slot opens a dialog, and every other job would stand still then.
        self._timer.timeout.connect(self.look, Qt.ConnectionType.QueuedConnection)
        state.closing.connect(self._close)
        looks = self._looks
        self.destroyed.connect(lambda: _stop_all(looks))  # a state that is deleted without having been closed

    @classmethod
    def of(cls, state: Any) -> JobClock:
        """Return the clock of a viewer's state, made at the first call."""
        clock: JobClock | None = state.findChild(cls)
        return cls(state) if clock is None else clock

    def start(self, thread: JobThread, look: Callable[[], None]) -> None:
        """Start a thread; ``look`` is called in the window's thread at every tick until the thread is joined."""
        self._looks[thread] = look
        thread.start()
        self._timer.start()

    def look(self) -> None:
        """Let the jobs take what is in their mailboxes, and join the threads that are over."""
        for thread, look in tuple(self._looks.items()):
            is_over = thread.is_over  # before the look, which then sees all that the thread ever reports
            look()
            if is_over:
                thread.join()  # all it still has to do is return
                self._looks.pop(thread, None)
        if not self._looks:
            self._timer.stop()

    def join(self, threads: Iterable[JobThread], wait_s: float = CLOSE_S) -> None:
        """Stop and join threads, all within ``wait_s``; a late thread can reach nothing of the window."""
        late = join_all(threads, wait_s)
        if late:
            _LOG.warning("%d background tasks did not stop within %.0f s", len(late), wait_s)
        self.look()

    def _close(self) -> None:
        self.is_closed = True  # a job notified of the end of another one does not start any more
        self.join(tuple(self._looks))


def _stop_all(looks: dict[JobThread, Callable[[], None]]) -> None:
    for thread in looks:
        thread.stop()

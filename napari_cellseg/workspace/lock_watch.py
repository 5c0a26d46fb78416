"""The thread that reads the lock file, so that the window never waits for a network share that does not answer."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from napari_cellseg.workspace.lock import FolderLock, LockOwner

__all__ = ["LockWatch"]

_JOIN_S = 1.0
"""A thread that waits for a dead share cannot be ended; it is a daemon, and reaches only the lock and two queues."""


class LockWatch:
    """Tells whether another viewer took a lock; for one thread, which never waits.

    Parameters
    ----------
    lock : FolderLock
        Held by this process at the start.
    """

    def __init__(self, lock: FolderLock) -> None:
        self._lock = lock
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[LockOwner | None] = SimpleQueue()
        self._asked_at: float | None = None
        self._thread: threading.Thread | None = None
        self._taken_by: LockOwner | None = None

    def look(self) -> LockOwner | None:
        """Return the viewer that took the lock, by the last answer, and ask again unless an answer is due."""
        with suppress(Empty):
            self._taken_by = self._answers.get_nowait()
            self._asked_at = None
        if self._asked_at is None and self._taken_by is None:
            self._ask()
        return self._taken_by

    @property
    def silent_s(self) -> float:
        """Time since the lock was asked for, if no answer has come yet; 0 otherwise."""
        is_due = self._asked_at is not None and self._answers.empty()
        return time.monotonic() - self._asked_at if is_due and self._asked_at is not None else 0.0

    def close(self) -> None:
        """End the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._requests.put(False)
            thread.join(_JOIN_S)

    def _ask(self) -> None:
        if self._thread is None:
            arguments = (self._lock, self._requests, self._answers)
            self._thread = threading.Thread(target=_read, args=arguments, name="cellseg-lock", daemon=True)
            self._thread.start()
        self._asked_at = time.monotonic()
        self._requests.put(True)


def _read(lock: FolderLock, requests: SimpleQueue[bool], answers: SimpleQueue[LockOwner | None]) -> None:
    while requests.get():
        answers.put(lock.other_owner)

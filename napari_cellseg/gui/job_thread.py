"""`JobThread`: a thread that runs one generator, and a mailbox for what it reports. No Qt here, on purpose.

A thread that emits a signal of an object while the window deletes that object ends the whole program, and no ``try``
can prevent it. So the thread of a job knows nothing but a generator and a `Mailbox`, which the window reads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any

from napari_cellseg.engine_process.messages import to_cellseg_error
from napari_cellseg.errors import CellSegError

__all__ = ["JobThread", "Mailbox", "join_all"]


class Mailbox:
    """The exchange between the window and one thread: plain values only.

    Attributes
    ----------
    stop : threading.Event
        Set by the window: close the generator after its current step.
    events : deque
        Events of the generator; the thread appends, the window removes.
    result : object
        The return value of the generator, if it finished.
    error : CellSegError or None
        Why it failed.
    is_finished : bool
        Whether the generator finished.
    is_over : bool
        Set last by the thread: nothing follows.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.events: deque[Any] = deque()
        self.result: Any = None
        self.error: CellSegError | None = None
        self.is_finished = False
        self.is_over = False


class JobThread:
    """One generator in its own thread.

    Parameters
    ----------
    make : callable
        Makes the generator; called in the thread. Neither may reach a `QObject`, a layer or a viewer.
    """

    def __init__(self, make: Callable[[], Generator[Any, None, Any]]) -> None:
        self.mailbox = Mailbox()
        self._thread = threading.Thread(target=_work, args=(make, self.mailbox), name="job", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to close its generator; returns immediately."""
        self.mailbox.stop.set()

    @property
    def is_over(self) -> bool:
        """Return whether the thread has reported its end."""
        return self.mailbox.is_over

    def join(self, wait_s: float | None = None) -> bool:
        """Wait for the end of the thread; return whether it ended in time."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()


def join_all(threads: Iterable[JobThread], wait_s: float) -> list[JobThread]:
    """Stop threads and wait for all of them together; return those that still run after ``wait_s``."""
    deadline = time.monotonic() + wait_s
    waiting = list(threads)
    for thread in waiting:
        thread.stop()
    return [thread for thread in waiting if not thread.join(max(0.0, deadline - time.monotonic()))]


def _work(make: Callable[[], Generator[Any, None, Any]], mailbox: Mailbox) -> None:
    try:
        _drive(make(), mailbox)
    except BaseException as error:  # noqa: BLE001 - SystemExit too: whatever ends a job must be reported
        mailbox.error = to_cellseg_error(error)
        mailbox.is_finished = False  # its clean-up failed
    mailbox.is_over = True


def _drive(generator: Generator[Any, None, Any], mailbox: Mailbox) -> None:
    try:
        while not mailbox.stop.is_set():
            try:
                event = next(generator)
            except StopIteration as end:
                mailbox.result, mailbox.is_finished = end.value, True
                return
            if event is not None:  # None is a chance to stop
                mailbox.events.append(event)
    finally:
        generator.close()

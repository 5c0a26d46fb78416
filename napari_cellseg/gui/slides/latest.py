"""`LatestThread`: a thread that answers the last question asked. No Qt here, as in `gui.job_thread`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from napari_cellseg.engine_process.messages import to_cellseg_error
from napari_cellseg.errors import CellSegError

__all__ = ["IsStale", "LatestThread"]

IsStale = Callable[[], bool]
"""Returns whether the answer is no longer wanted because the thread is to end."""
Question = Callable[[IsStale], Any]


class LatestThread:
    """Answers one question at a time; one that waits is replaced by the next.

    A question must not reach a `QObject`, a layer or the viewer.

    Parameters
    ----------
    name : str
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._desk = _Desk()
        self._thread = threading.Thread(target=_work, args=(self._desk,), name=name, daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> None:
        """Ask; a question that has not been begun is dropped."""
        with self._desk.changed:
            self._desk.question = question
            self._desk.changed.notify()

    @property
    def is_idle(self) -> bool:
        """Return whether all questions are answered and all answers taken."""
        desk = self._desk
        with desk.changed:
            return desk.question is None and not desk.is_working and not desk.answers

    def answer(self) -> Any:
        """Return the next answer, a `CellSegError` for a question that failed; None if there is none."""
        answers = self._desk.answers
        return answers.popleft() if answers else None

    def close(self) -> None:
        """End the thread, and wait for it: a question stops at its next look whether it is stale."""
        with self._desk.changed:
            self._desk.is_closed = True
            self._desk.changed.notify()
        self._thread.join()


class _Desk:
    """What the thread and the window share: plain values."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.question: Question | None = None
        self.is_working = self.is_closed = False
        self.answers: deque[Any] = deque()


def _work(desk: _Desk) -> None:
    while True:
        with desk.changed:
            desk.changed.wait_for(lambda: desk.question is not None or desk.is_closed)
            question, desk.question = desk.question, None
            if desk.is_closed or question is None:
                return
            desk.is_working = True
        answer: Any
        try:
            answer = question(lambda: desk.is_closed)
        except BaseException as error:  # noqa: BLE001 - whatever ends a question must be reported
            answer = _in_words(error)
        with desk.changed:
            if answer is not None:
                desk.answers.append(answer)
            desk.is_working = False


def _in_words(error: BaseException) -> CellSegError:
    return to_cellseg_error(error)

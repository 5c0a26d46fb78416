"""Shows the events of a generator: a progress bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

__all__ = ["Bar", "drive"]

_LOG_INTERVAL_S = 30.0

Event = TypeVar("Event")
Result = TypeVar("Result")


def drive(events: Generator[Event, None, Result], show: Callable[[Event], None]) -> Result:
    """Run a generator to its end, show each event, and return its result.

    The generator is always closed before this returns or raises, also on Ctrl-C.
    """
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                result: Result = end.value
                return result
            show(event)
    finally:
        events.close()


class Bar:
    """A progress bar on standard error if that is a terminal, else a line now and then; lines are printed in any case.

    Parameters
    ----------
    unit : str
        The counted unit.
    to_stderr : bool
        Print lines to standard error because standard output is for data (``--json``).
    quiet : bool
        No bar and no lines.
    """

    def __init__(self, unit: str, *, to_stderr: bool = False, quiet: bool = False) -> None:
        self._quiet, self._unit = quiet, unit
        self._told_at = time.monotonic()
        self._lines = sys.stderr if to_stderr else sys.stdout
        self._bar = tqdm(total=0, unit=unit, disable=True if quiet else None, dynamic_ncols=True, leave=False)

    def at(self, done: float, total: float, text: str = "") -> None:
        """Update the progress; without a terminal, print it every half minute, for a log."""
        if self._bar.disable and time.monotonic() - self._told_at >= _LOG_INTERVAL_S:
            self._told_at = time.monotonic()
            self.line(f"{self._unit} {done:g} of {total:g}{f': {text}' if text else ''}")
        if not self._bar.disable:
            self._bar.total = total
            self._bar.n = round(done, 2)
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.refresh()

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if not self._quiet:
            self._told_at = time.monotonic()
            self._bar.write(text, file=self._lines)
            self._lines.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bar.close()

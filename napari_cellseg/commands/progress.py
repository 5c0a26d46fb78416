"""Shows the events of a generator: a progress bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

__all__ = ["Bar"]

_LOG_INTERVAL_S = 30.0


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

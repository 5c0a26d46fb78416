"""The working time of a run: counted without pauses, limited, and told before the last validation."""

from __future__ import annotations

import time
from collections.abc import Generator

from lightning_fabric import Fabric

from napari_cellseg.events import Message, ValidationStep
from napari_cellseg.wording import about_time
from training.resume import Progress
from training.validation import Validation

__all__ = ["WorkTime"]


class WorkTime:
    """Counts in ``progress.run_seconds``, which a resumed run continues.

    Parameters
    ----------
    limit_min : float or None
        Longest working time, minutes; None: no limit.
    progress : Progress
        Of the run; two of its values are written.
    fabric : Fabric
        The processes of the run.

    Attributes
    ----------
    is_up : bool
        Whether the limit was reached at the last `check`; the same on all processes.
    """

    def __init__(self, limit_min: float | None, progress: Progress, fabric: Fabric) -> None:
        self._limit_min = limit_min
        self._progress = progress
        self._fabric = fabric
        self.is_up = False
        self.check()

    def count(self, since: float) -> float:
        """Count the time since ``since`` (`time.perf_counter`, seconds) as working time; return now."""
        now = time.perf_counter()
        self._progress.run_seconds += now - since
        return now

    def check(self) -> None:
        """Update `is_up`; all processes call this, and the first one decides: they must stop at the same step."""
        if self._limit_min is not None:
            self.is_up = bool(self._fabric.broadcast(self._progress.run_seconds >= 60 * self._limit_min))

    def timed(
        self, validation: Generator[ValidationStep, None, Validation]
    ) -> Generator[Message | ValidationStep, None, Validation]:
        """Run a validation and count its time; after the limit, say how long it takes.

        It takes as long as the previous one; in the first one, as the first image tells.
        """
        before, seconds, is_told = self._progress.validation_seconds, 0.0, not self.is_up
        if before and not is_told:
            yield self._announcement(before)
            is_told = True
        try:
            while True:
                started = time.perf_counter()
                try:
                    step = next(validation)
                except StopIteration as end:
                    self._progress.validation_seconds = seconds + self.count(started) - started
                    self.check()
                    result: Validation = end.value
                    return result
                seconds += self.count(started) - started
                if not is_told and step.image > 1:
                    yield self._announcement(seconds / (step.image - 1) * step.images)
                    is_told = True
                yield step
        finally:
            validation.close()

    def _announcement(self, seconds: float) -> Message:
        limit = f"{self._limit_min:g} min"
        return Message(
            "info", f"The time limit of {limit} is reached. The last validation takes {about_time(seconds)}."
        )

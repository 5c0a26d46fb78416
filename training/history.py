"""`RunHistory`: the events of a training run so far, as the plots and lines of *Train* show them; without Qt."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_cellseg.errors import TrainingError
from napari_cellseg.events import (
    CheckpointSaved,
    EpochDone,
    Message,
    RunFinished,
    RunStarted,
    StepDone,
    TrainEvent,
    ValidationStep,
)
from napari_cellseg.wording import counted
from training.run_folder import RunFolder

__all__ = ["FEW_CELLS", "Curve", "RunHistory", "epoch_line", "run_line"]

FEW_CELLS = 20
"""Figures from fewer validation cells are called too few to rely on."""

_LINES = 500
_POINTS = 1000


class Curve:
    """Points of a line, at most a thousand: beyond that, neighbours are averaged."""

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []
        self._group = 1
        self._waiting: list[tuple[float, float]] = []

    def add(self, x: float, y: float) -> None:
        """Add a point; points that are not finite are left out."""
        if not math.isfinite(y):
            return
        self._waiting.append((x, y))
        if len(self._waiting) < self._group:
            return
        self.x.append(sum(x for x, _ in self._waiting) / self._group)
        self.y.append(sum(y for _, y in self._waiting) / self._group)
        self._waiting.clear()
        if len(self.x) >= _POINTS:
            self._group *= 2
            self.x = [sum(pair) / 2 for pair in zip(self.x[::2], self.x[1::2], strict=False)]
            self.y = [sum(pair) / 2 for pair in zip(self.y[::2], self.y[1::2], strict=False)]


class RunHistory:
    """The state of one run, updated event by event.

    Attributes
    ----------
    folder : Path or None
        The run folder; None before the run has one.
    epochs : int
        Maximum length of the run.
    every : int
        Epochs between two validations.
    monitor : str
        What early stopping monitors: "ap50", "val_loss" or "train_loss".
    rows : list of dict
        One per epoch, with flat names as in metrics.csv.
    steps : Curve
        Training loss over the fractional epoch.
    now : StepDone, ValidationStep or None
        The last progress event.
    step : StepDone or None
        The last step.
    best_epoch, best_value : int, float
        0 and NaN before the first validation.
    lines : deque of str
        The log.
    """

    def __init__(self, folder: Path | None = None, every: int = 1, monitor: str = "ap50") -> None:
        self.folder = folder
        self.every = every
        self.monitor = monitor
        self.started: RunStarted | None = None
        self.epochs = 0
        self.rows: list[dict[str, float]] = []
        self.steps = Curve()
        self.now: StepDone | ValidationStep | None = None
        self.step: StepDone | None = None
        self.last_epoch: EpochDone | None = None
        self.finished: RunFinished | None = None
        self.best_epoch, self.best_value = 0, math.nan
        self.has_model = False
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.line_count = 0

    @classmethod
    def of_folder(cls, folder: Path, every: int = 1, monitor: str = "ap50") -> RunHistory:
        """Start from the epochs of an earlier part of the run."""
        history = cls(folder, every, monitor)
        files = RunFolder(folder)
        history.has_model = files.best.exists()
        try:
            history.rows = files.read_metrics()
        except TrainingError:  # the run itself does not need the table
            history.rows = []
        measured = [(row[monitor], row["epoch"]) for row in history.rows if monitor in row]
        if measured:
            first_best = max(measured, key=lambda pair: (pair[0] if monitor == "ap50" else -pair[0], -pair[1]))
            history.best_value, history.best_epoch = first_best[0], int(first_best[1])
        return history

    def take(self, event: TrainEvent) -> None:
        """Add the next event of the run."""
        if isinstance(event, StepDone):
            self.now = self.step = event
            self.steps.add(event.epoch - 1 + event.step / max(1, event.steps), total_loss(event.losses))
        elif isinstance(event, ValidationStep):
            self.now = event
        elif isinstance(event, EpochDone):
            self._take_epoch(event)
        elif isinstance(event, RunStarted):
            self._take_start(event)
        elif isinstance(event, CheckpointSaved):
            self.has_model |= event.kind == "best"
        elif isinstance(event, RunFinished):
            self.finished = event
            self.say(run_line(event))
        elif isinstance(event, Message):
            self.say(f"{event.level}: {event.text}" if event.level == "warning" else event.text)

    def say(self, text: str) -> None:
        """Add a line to the log."""
        self.lines.append(f"{time.strftime('%H:%M:%S')}  {text}")
        self.line_count += 1

    @property
    def validated(self) -> Mapping[str, float]:
        """The row of the last epoch that was measured; empty before the first."""
        return next((row for row in reversed(self.rows) if "ap50" in row or "val_loss" in row), {})

    @property
    def best_row(self) -> Mapping[str, float]:
        """The row of the best epoch; empty before the first."""
        return next((row for row in self.rows if row["epoch"] == self.best_epoch), {})

    def best_text(self) -> str:
        """Return "best AP50 0.520 at epoch 11; stops in 7 epochs without improvement"."""
        if not self.best_epoch:
            return "Nothing measured yet" if self.started is not None else ""
        text = f"best {monitor_name(self.monitor)} {self.best_value:.3f} at epoch {self.best_epoch}"
        if self.last_epoch is None or self.last_epoch.stops_in is None or self.finished is not None:
            return text
        left = self.last_epoch.stops_in * self.every
        if self.epochs and self.last_epoch.epoch + left > self.epochs:  # the run is over before
            return text
        return f"{text}; stops in {left} {'epoch' if left == 1 else 'epochs'} without improvement"

    def precision_text(self, row: Mapping[str, float], names: Sequence[str]) -> str:
        """Return the AP50 of the classes that were measured: "other 0.310, epithelial 0.520"."""
        known = [(name, row[f"ap50/{name}"]) for name in names if f"ap50/{name}" in row]
        return ", ".join(f"{name} {value:.3f}" for name, value in known if math.isfinite(value))

    def basis_text(self, row: Mapping[str, float], names: Sequence[str]) -> str:
        """Return what the figures of an epoch rest on, such as "Measured on 1 image with 1 cell: too few to rely on".

        Empty for a row without these counts.
        """
        if not math.isfinite(row.get("measured/cells", math.nan)):
            return ""
        cells, images = int(row["measured/cells"]), row.get("measured/images", math.nan)
        where = f"{counted(int(images), 'image')} with " if math.isfinite(images) else ""
        text = f"Measured on {where}{counted(cells, 'cell')}"
        text += ": too few to rely on." if cells < FEW_CELLS else "."
        absent = [name for name in names if row.get(f"cells/{name}") == 0]
        return text + (f" No validation cells of {', '.join(absent)}: not measured." if absent else "")

    def _take_start(self, event: RunStarted) -> None:
        self.started, self.epochs, self.folder = event, event.epochs, event.run_folder
        self.rows = [row for row in self.rows if row["epoch"] < event.first_epoch]
        self.say(
            f"{event.train_images} training images ({event.train_cells:,} cells), {event.validation_images} validation "
            f"images; on {event.device} ({event.reason})"
        )

    def _take_epoch(self, event: EpochDone) -> None:
        losses = {f"train_{name}": value for name, value in event.losses.items()}
        self.rows.append({"epoch": event.epoch, "seconds": event.seconds, **losses, **event.metrics})
        self.last_epoch = event
        self.best_epoch, self.best_value = event.best_epoch, event.best_value
        self.say(epoch_line(event))


def total_loss(losses: Mapping[str, float]) -> float:
    """Return the total loss."""
    return losses["loss"] if "loss" in losses else sum(losses.values())


def monitor_name(monitor: str) -> str:
    """Return the display name of what early stopping monitors."""
    return {"ap50": "AP50", "val_loss": "validation loss", "train_loss": "training loss"}.get(monitor, monitor)


def run_line(event: RunFinished) -> str:
    """Return how a run ended, in one line; an unfinished epoch may be the best."""
    if not event.best_epoch:
        return f"{event.reason.value}: no epoch was validated"
    if event.best_epoch > event.epochs:
        return f"{event.reason.value}: best epoch {event.best_epoch} ({event.best_value:.4f}), stopped before its end"
    return f"{event.reason.value}: best epoch {event.best_epoch} ({event.best_value:.4f}) of {event.epochs}"


def epoch_line(event: EpochDone) -> str:
    """Return an `EpochDone` as one line of a log."""
    loss = event.losses.get("loss", sum(event.losses.values()))
    shown = [f"{name} {event.metrics[name]:.3f}" for name in ("val_loss", "ap50", "pq") if name in event.metrics]
    left = f", stops in {event.stops_in}" if event.stops_in is not None and event.epochs_without_improvement else ""
    best = " (best)" if event.is_best else f" (best: epoch {event.best_epoch}{left})"
    return f"epoch {event.epoch}: loss {loss:.3f}  {'  '.join(shown)}{best}  {event.seconds:.0f} s"

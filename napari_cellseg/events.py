"""The events of long-running work: small, frozen, picklable values, free of torch and Qt.

A long function of the core is a generator: it yields these events at least once per batch or tile, returns its result,
and cleans up in ``finally``. To stop it, close it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal, TypeVar

from napari_cellseg.instances import InstanceMasks

__all__ = [
    "CellsSoFar",
    "CheckpointSaved",
    "EpochDone",
    "ImageDone",
    "ImageFailed",
    "Message",
    "ModelReady",
    "Paused",
    "PredictEvent",
    "PredictSummary",
    "Progress",
    "Resumed",
    "RunFinished",
    "RunStarted",
    "ScaleHint",
    "ScaleUsed",
    "SlideDone",
    "SlideTileDone",
    "StepDone",
    "StopReason",
    "TileDone",
    "TrainEvent",
    "TrainSummary",
    "ValidationStep",
    "drive",
]

Event = TypeVar("Event")
Result = TypeVar("Result")


def drive(events: Generator[Event, None, Result], show: Callable[[Event], object] | None = None) -> Result:
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
            if show is not None:
                show(event)
    finally:
        events.close()


class Progress:
    """An event that the next one of its kind replaces: a slow reader may skip all but the last."""


@dataclass(frozen=True)
class Paused:
    """The work is paused between two events, without using the processor, until it is resumed or closed."""


@dataclass(frozen=True)
class Resumed:
    """Paused work continues."""


@dataclass(frozen=True)
class Message:
    """A line for the log: ``level`` is "info" or "warning"."""

    level: Literal["info", "warning"]
    text: str


@dataclass(frozen=True)
class ScaleUsed(Message):
    """A message about the scale of an image; ``scale`` is the scale and the reason."""

    scale: str


@dataclass(frozen=True)
class ScaleHint(Message):
    """A better ``scale`` (network px per image px) for an image whose pixel size is not known."""

    scale: float


# ---- prediction ----


@dataclass(frozen=True, kw_only=True)
class ModelReady:
    """The model is loaded; ``reason`` states why this device was chosen ("auto: CPU, no CUDA")."""

    model_name: str
    class_names: tuple[str, ...]
    device: str
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TileDone(Progress):
    """Tile ``tile`` (1-based) of ``tiles`` of image ``image`` (1-based) of ``images``; ``cells`` predicted in it.

    Where several views of a tile are averaged, each of them counts as a tile, and the last one has the cells.
    """

    image: int
    images: int
    tile: int
    tiles: int
    cells: int


@dataclass(frozen=True, kw_only=True, eq=False)
class CellsSoFar(TileDone):
    """A `TileDone` with the cells of all finished tiles, joined at their seams; only where the tiles have an order.

    Attributes
    ----------
    instances : InstanceMasks
        Best first, as in `ImageDone`. A cell that reaches into no waiting tile is also in the final result, but for
        rare chains of overlapping cells; one that does may be cut, or be replaced by a better one.
    waiting : tuple of (x0, y0, x1, y1)
        The tiles that are not finished, px of the image, half-open.
    """

    instances: InstanceMasks
    waiting: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, done: TileDone, instances: InstanceMasks, waiting: Iterable[tuple[int, int, int, int]]) -> CellsSoFar:
        """Add the cells so far to the event of a tile."""
        return cls(**vars(done), instances=instances, waiting=tuple(waiting))


@dataclass(frozen=True, kw_only=True)
class SlideTileDone(TileDone):
    """A `TileDone` of a slide whose cells are on disk; ``tiles`` are those to predict, without glass.

    ``mm2`` of ``mm2_in_all`` are predicted, None if the pixel size is unknown; ``seconds_left`` is an estimate.
    """

    mm2: float | None
    mm2_in_all: float | None
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class SlideDone:
    """All cells of a slide, or of the part that was asked for, are in its store.

    Attributes
    ----------
    store : Path
        The file of a `CellStore`.
    cells : int
    tiles, glass : int
        Tiles of the slide or of its region, and how many of these are glass and were skipped.
    pixel_size_um : float or None
        As the file states it, of the level that was read.
    seconds : float
        Of this run alone.
    waiting : int
        Tiles that wait for another run, because this one was of a part of the slide.
    """

    image: int
    images: int
    image_id: str
    store: Path
    cells: int
    tiles: int
    glass: int
    pixel_size_um: float | None
    seconds: float
    waiting: int = 0


@dataclass(frozen=True, kw_only=True)
class ImageDone:
    """All cells of one image above the model's floor score, not yet filtered by the user's thresholds."""

    image: int
    images: int
    image_id: str
    instances: InstanceMasks
    seconds: float


@dataclass(frozen=True)
class ImageFailed:
    """One image could not be predicted; the run continues with the others."""

    image: int
    images: int
    image_id: str
    message: str


PredictEvent = Message | ModelReady | TileDone | ImageDone | SlideDone | ImageFailed


@dataclass(frozen=True)
class PredictSummary:
    """The result of a prediction."""

    images: int
    failed: int
    cells: int
    seconds: float


# ---- training ----


class StopReason(Enum):
    """Why a training run ended; the value is the text."""

    FINISHED = "all epochs done"
    NO_IMPROVEMENT = "no improvement"
    MAX_STEPS = "step limit reached"
    MAX_MINUTES = "time limit reached"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run starts or resumes; ``first_epoch`` is 1-based and above 1 after a resume."""

    run_folder: Path
    train_images: int
    validation_images: int
    train_cells: int
    class_names: tuple[str, ...]
    first_epoch: int
    epochs: int
    device: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class StepDone(Progress):
    """One optimiser step. Numbers are 1-based; ``seconds_left`` is for the epoch; memory in MiB, VRAM 0 on CPU."""

    epoch: int
    chunk: int
    chunks: int
    step: int
    steps: int
    losses: Mapping[str, float]
    learning_rate: float
    images_per_s: float
    seconds_left: float
    ram_mib: float
    vram_mib: float


@dataclass(frozen=True)
class ValidationStep(Progress):
    """Validation image ``image`` (1-based) of ``images`` is being predicted; one event per tile."""

    epoch: int
    image: int
    images: int


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """One epoch with its validation.

    ``metrics`` has flat names as in metrics.csv (``ap50``, ``ap50/epithelial``, ``val_loss``, ...); ``monitor`` is the
    name of the metric that early stopping watches.
    """

    epoch: int
    losses: Mapping[str, float]
    metrics: Mapping[str, float]
    monitor: str
    is_best: bool
    best_epoch: int
    best_value: float
    epochs_without_improvement: int
    stops_in: int | None
    seconds: float


@dataclass(frozen=True)
class CheckpointSaved:
    """A file is safely on disk; ``kind`` is "best" or "last"."""

    path: Path
    kind: Literal["best", "last"]
    epoch: int


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """The run ended without an error; `TrainSummary` returns the same values."""

    reason: StopReason
    epochs: int
    best_epoch: int
    best_value: float
    checkpoint: Path | None


TrainEvent = Message | RunStarted | StepDone | ValidationStep | EpochDone | CheckpointSaved | RunFinished


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """The result of a training run."""

    run_folder: Path
    reason: StopReason
    epochs: int
    best_epoch: int
    best_value: float
    checkpoint: Path | None
    metrics: Mapping[str, float] = field(default_factory=dict)

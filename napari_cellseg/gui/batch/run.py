"""Model, progress and storage of one Batch run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from napari_cellseg.events import TileDone
from napari_cellseg.images.read import ImageFile
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.workspace.predictions import PredictionLog, prediction_key
from napari_cellseg.workspace.store import ProposalStore

__all__ = ["BatchModel", "BatchProgress", "BatchRun"]


@dataclass(frozen=True)
class BatchModel:
    """The model and options of a run."""

    options: PredictOptions
    header: CheckpointHeader
    name: str
    pixel_size_um: float | None = None

    @property
    def key(self) -> str:
        """Return a key that differs whenever the results would differ."""
        return prediction_key(self.header.sha256, self.options.model_dump(mode="json"), self.pixel_size_um)


@dataclass(frozen=True, kw_only=True)
class BatchProgress:
    """Image ``image`` (1-based) of ``images`` is at ``tile`` of ``tiles``; ``seconds_left`` is None at first."""

    image: int
    images: int
    tile: int
    tiles: int
    image_id: str
    seconds_left: float | None


class BatchRun:
    """One run: what it needs to store its results and to estimate its time."""

    def __init__(
        self,
        model: BatchModel,
        match: dict[int, int],
        min_scores: Mapping[int, float],
        log: PredictionLog,
        store: ProposalStore,
        files: list[ImageFile],
        pixels: list[int],
    ) -> None:
        self.model = model
        self.match = match
        self.min_scores = dict(min_scores)
        self.log, self.store = log, store
        self.files = files
        known = [size for size in pixels if size]
        usual = sum(known) / len(known) if known else 1.0
        self._pixels = [size or usual for size in pixels]
        self.began_s = 0.0

    def seconds_left(self, event: TileDone, elapsed_s: float) -> float | None:
        """Return the seconds left at the speed so far, in proportion to the pixels."""
        before, now = sum(self._pixels[: event.image - 1]), self._pixels[event.image - 1]
        done = before + now * event.tile / event.tiles
        rest = sum(self._pixels) - done
        return rest / done * (elapsed_s - self.began_s) if done else None

"""What a comparison of two models found: plain values, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_cellseg.events import Progress
from napari_cellseg.instances import InstanceMasks

__all__ = ["ClassComparison", "Comparison", "ComparisonStep", "ImageComparison", "ModelScores"]

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class ComparisonStep(Progress):
    """Tile ``tile`` of ``tiles`` of image ``image`` of ``images`` (all 1-based) went through one of the models."""

    image: int
    images: int
    image_id: str
    model: Literal["old", "new"]
    tile: int
    tiles: int

    @property
    def done(self) -> float:
        """Share of all the work that is done, 0..1; every image and model counts the same."""
        part = (self.model == "new") + self.tile / self.tiles
        return (2 * (self.image - 1) + part) / (2 * self.images)


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """How good one model is; NaN where there is nothing to measure.

    ``ap50``, ``pq`` and ``f1`` are those of `training.evaluate`. ``matched`` true cells were found (same class, IoU
    above 0.5), ``missed`` were not, and ``false`` found cells are none; all three, as ``pq`` and ``f1``, at the score
    threshold ``min_score`` of the model.
    """

    ap50: float
    pq: float
    f1: float
    matched: int
    missed: int
    false: int
    min_score: float = math.nan


@dataclass(frozen=True, kw_only=True)
class ClassComparison:
    """One class over all images.

    Attributes
    ----------
    class_id, name
        Of the new model.
    cells : int
        True cells.
    old : ModelScores or None
        None when the old model does not know a class of this name.
    new : ModelScores
    gained, lost : int
        True cells that only the new, or only the old, model found.
    """

    class_id: int
    name: str
    cells: int
    old: ModelScores | None
    new: ModelScores
    gained: int
    lost: int


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageComparison:
    """One image: its cells, and which of them which model found.

    Attributes
    ----------
    image_id : str
    truth, old, new : InstanceMasks
        True cells, and those found by each model at or above its score thresholds; class_ids are the new model's.
    gained, lost : (G,), (L,) intp
        Indices into ``truth``: found by the new model only, by the old one only.
    old_false, new_false : (F,) intp
        Indices into ``old`` and ``new``: cells that are none, or of another class.
    """

    image_id: str
    truth: InstanceMasks
    old: InstanceMasks
    new: InstanceMasks
    gained: Indices
    lost: Indices
    old_false: Indices
    new_false: Indices

    def count(self, what: Literal["gained", "lost", "old_false", "new_false"], class_id: int | None = None) -> int:
        """Return how many cells of a class, or of all, were gained, lost, or falsely found."""
        of = {"old_false": self.old, "new_false": self.new}.get(what, self.truth)
        indices: Indices = getattr(self, what)
        return len(indices) if class_id is None else int(np.count_nonzero(of.class_ids[indices] == class_id))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same images.

    ``old`` and ``new`` are means (ap50, pq, f1) and sums (the counts) over the classes that both know.
    """

    old_name: str
    new_name: str
    classes: tuple[ClassComparison, ...]
    old: ModelScores
    new: ModelScores
    images: tuple[ImageComparison, ...]
    seconds: float

    @property
    def gained(self) -> int:
        """True cells that only the new model found."""
        return sum(scores.gained for scores in self.classes)

    @property
    def lost(self) -> int:
        """True cells that only the old model found."""
        return sum(scores.lost for scores in self.classes)

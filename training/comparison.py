"""The result of a comparison of two models: plain values, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import Progress
from napari_cellseg.instances import InstanceMasks

__all__ = ["ClassComparison", "Comparison", "ComparisonStep", "ImageComparison", "ModelScores"]

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class ComparisonStep(Progress):
    """One of the models has predicted tile ``tile`` of ``tiles`` of image ``image`` of ``images`` (all 1-based)."""

    image: int
    images: int
    image_id: str
    model: Literal["old", "new"]
    tile: int
    tiles: int

    @property
    def done(self) -> float:
        """Progress, 0..1; every image and model counts the same."""
        part = (self.model == "new") + self.tile / self.tiles
        return (2 * (self.image - 1) + part) / (2 * self.images)


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """The metrics of one model; NaN where there is nothing to measure.

    ``ap50``, ``pq`` and ``f1`` are those of `training.evaluate`. ``matched`` counts the ground-truth cells that have a
    prediction of the same class with an IoU above 0.5, ``missed`` those that have none, and ``false`` the predictions
    without such a cell. These counts, ``pq`` and ``f1`` are taken at the score threshold ``min_score`` of the model.
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
        Of the data.
    cells : int
        Ground-truth cells.
    old : ModelScores or None
        None when the old model has no class of this name.
    new : ModelScores
    gained, lost : int
        Ground-truth cells that only the new, or only the old, model found.
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
    """One image: its cells, and which of them each model found.

    Attributes
    ----------
    image_id : str
    truth, old, new : InstanceMasks
        Ground truth, and the cells that each model predicts at or above its score thresholds; class_ids are those of
        the data.
    gained, lost : (G,), (L,) intp
        Indices into ``truth``: found by the new model only, by the old model only.
    old_false, new_false : (F,) intp
        Indices into ``old`` and ``new``: predictions without a ground-truth cell of their class.
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
        """Return how many cells of a class, or of all classes, were gained, lost, or falsely predicted."""
        of = {"old_false": self.old, "new_false": self.new}.get(what, self.truth)
        indices: Indices = getattr(self, what)
        return len(indices) if class_id is None else int(np.count_nonzero(of.class_ids[indices] == class_id))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same images.

    ``old`` and ``new`` are means (ap50, pq, f1) and sums (the counts) over the classes that both models have.
    """

    old_name: str
    new_name: str
    classes: tuple[ClassComparison, ...]
    old: ModelScores
    new: ModelScores
    images: tuple[ImageComparison, ...]
    seconds: float
    by_number: bool = False
    """Whether the old model's classes are matched by number, because one side has no names; else by name."""
    table: ClassTable = field(default_factory=lambda: ClassTable.numbered(1))
    """The classes of the data, which all class_ids mean."""
    pairing: str = ""
    """How the new model's classes are paired with the data's; empty if they are the same in the same order."""

    @property
    def gained(self) -> int:
        """Ground-truth cells that only the new model found."""
        return sum(scores.gained for scores in self.classes)

    @property
    def lost(self) -> int:
        """Ground-truth cells that only the old model found."""
        return sum(scores.lost for scores in self.classes)

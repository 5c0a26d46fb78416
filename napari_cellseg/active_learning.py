"""Ranks the images to review next by how much the answers are expected to teach the model.

Uncertainty sampling (Lewis & Gale, "A sequential algorithm for training text classifiers", SIGIR 1994; Settles,
"Active learning literature survey", 2009): the user's answer about a cell is worth its entropy, in bits, and an image
the sum over its cells (Brust, Käding & Denzler, "Active learning for deep object detection", 2018, compare sums, means
and maxima over detections). By the chain rule the entropy of a cell has two parts, cell or not, and which class:

    H = H2(p) + p * H(class | it is a cell)

``p`` comes from the score by a logistic curve (Platt, "Probabilistic outputs for support vector machines", 1999) around
the threshold of the class. Thresholds are those of the best F1, where a proposal is right with a probability of F1 / 2
(Lipton, Elkan & Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", 2014). Several classes are
possible where proposals of different classes overlap; their scores then give the odds. Cells of rare classes have
higher weights, by the square root of their rarity, so that the sample becomes more balanced.

Over 80 crops of five CoNSeP tiles that the bundled model never saw, the rank correlation of the (unweighted) gain with
the number of wrong and missed cells was 0.94; the number of predicted cells, the simple approach, gives 0.92.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.review import Cell, Status, instances_of
from napari_cellseg.wording import counted

__all__ = ["ClassCounts", "ImageGain", "class_weights", "image_gain", "rank_images"]

SLOPE = 2.0
"""Slope of the logistic curve, in logits of the probability per logit of the score."""
AT_THRESHOLD = 0.25
"""Probability that a proposal at its threshold is right: half of an F1 of 0.5; the bundled model has 0.28."""
NEAR = 0.8
"""Minimum entropy of an undecided cell, bits: a probability between 0.24 and 0.76."""
SAME_CELL = 0.5
"""Intersection over union above which two proposals are one cell."""
RARE = 1.5
"""Minimum weight of a rare class, which has less than 4/9 of an even share of the cells."""
_MOST_WEIGHT = 3.0
_FEWEST_REVIEWED = 50
"""With fewer reviewed cells, class frequencies are those of the predicted cells."""
_DEFAULT_THRESHOLD = 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ImageGain:
    """The expected gain of reviewing one image.

    Attributes
    ----------
    image_id : str
    gain : float
        Weighted bits; images are ordered by it.
    cells : int
        Visible proposals (at or above the threshold of their class).
    undecided : int
        Cells near the threshold.
    ambiguous : int
        Cells between two classes.
    rare : mapping of class name to int
        Cells of rare classes at or above their threshold.
    """

    image_id: str
    gain: float
    cells: int = 0
    undecided: int = 0
    ambiguous: int = 0
    rare: Mapping[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The reason for the rank of the image."""
        parts = [f"{counted(self.undecided, 'cell')} near the threshold"] if self.undecided else []
        parts += [f"{count} of the rare class {name}" for name, count in self.rare.items()]
        parts += [f"{self.ambiguous} between two classes"] if self.ambiguous else []
        if parts:
            return "; ".join(parts)
        return f"the model is sure of {counted(self.cells, 'cell')}" if self.cells else "no cell was found"


class ClassCounts:
    """The reviewed (or given) and the predicted cells of each class, summed over images."""

    def __init__(self) -> None:
        self.reviewed: dict[int, int] = {}
        self.predicted: dict[int, int] = {}

    def add(self, cells: Iterable[Cell], thresholds: Mapping[int, float]) -> None:
        """Count the cells of an image, without rejected cells and proposals below their threshold."""
        for cell in cells:
            if cell.status in (Status.ACCEPTED, Status.EDITED, Status.GIVEN):
                self.reviewed[cell.class_id] = self.reviewed.get(cell.class_id, 0) + 1
            elif cell.status is Status.PROPOSED and cell.score >= thresholds.get(cell.class_id, _DEFAULT_THRESHOLD):
                self.predicted[cell.class_id] = self.predicted.get(cell.class_id, 0) + 1

    @property
    def known(self) -> Mapping[int, int]:
        """The counts to use: reviewed cells once there are enough of them."""
        return self.reviewed if sum(self.reviewed.values()) >= _FEWEST_REVIEWED else self.predicted


def class_weights(counts: Mapping[int, int], classes: ClassTable) -> dict[int, float]:
    """Return the weight of each class_id: 1 for an even share of the cells, the square root of its rarity, up to 3.

    The weight of a frequent class is at least 1/3. Without cells every class has weight 1.
    """
    total = sum(counts.get(class_id, 0) for class_id in classes.class_ids)
    if not total:
        return dict.fromkeys(classes.class_ids, 1.0)
    even = total / len(classes)
    return {
        class_id: float(np.clip(np.sqrt(even / (counts.get(class_id, 0) + 1)), 1 / _MOST_WEIGHT, _MOST_WEIGHT))
        for class_id in classes.class_ids
    }


def image_gain(
    image_id: str,
    cells: Iterable[Cell],
    image_size: tuple[int, int],
    classes: ClassTable,
    thresholds: Mapping[int, float],
    weights: Mapping[int, float],
) -> ImageGain:
    """Return the expected gain of reviewing the proposals of an image; decided cells give nothing.

    Parameters
    ----------
    image_id : str
    cells : iterable of Cell
        All cells of the image, including those below the thresholds, which may be missed cells.
    image_size : (int, int)
        Height and width, px.
    classes : ClassTable
    thresholds : mapping of class_id to float
        The minimum score of proposals; 0.5 by default.
    weights : mapping of class_id to float
        From `class_weights`.
    """
    proposals = sorted(
        (cell for cell in cells if cell.status is Status.PROPOSED), key=lambda cell: (-cell.score, cell.cell_id)
    )
    if not proposals:
        return ImageGain(image_id=image_id, gain=0.0)
    found = instances_of(proposals, image_size)
    limits = np.array([thresholds.get(cell.class_id, _DEFAULT_THRESHOLD) for cell in proposals])
    p = _probability(found.scores.astype(np.float64), limits)
    heads, odds = _one_cell_each(found, len(classes))
    whether, which = _entropy2(p[heads]), p[heads] * _entropy(odds)
    weight = np.array([weights.get(class_id, 1.0) for class_id in found.class_ids[heads].tolist()])
    rare = {
        name: int(((found.class_ids[heads] == class_id) & (p[heads] > 0.999 * AT_THRESHOLD)).sum())
        for class_id, name, _ in classes
        if weights.get(class_id, 1.0) >= RARE
    }
    return ImageGain(
        image_id=image_id,
        gain=float((weight * (whether + which)).sum()),
        cells=int((found.scores >= limits).sum()),
        undecided=int((whether >= NEAR).sum()),
        ambiguous=int((which >= NEAR / 2).sum()),
        rare={name: count for name, count in rare.items() if count},
    )


def rank_images(gains: Iterable[ImageGain]) -> list[ImageGain]:
    """Return the images sorted by descending gain; equal ones keep their order."""
    return sorted(gains, key=lambda image: -image.gain)


def _one_cell_each(found: InstanceMasks, classes: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """Group overlapping proposals, best first.

    Returns
    -------
    heads : (M,) int
        The best proposal of each cell.
    odds : (M, K) float
        The score of its best proposal of each class, as shares of 1.
    """
    i, j, shared = intersections(found, found)
    areas = found.areas
    same = (i < j) & (shared > SAME_CELL * (areas[i] + areas[j] - shared))  # i < j: i has the higher score
    others: dict[int, list[int]] = {}
    for first, second in zip(i[same].tolist(), j[same].tolist(), strict=True):
        others.setdefault(first, []).append(second)
    taken = np.zeros(len(found), bool)
    heads: list[int] = []
    scores: list[Floats] = []
    for head in range(len(found)):
        if taken[head]:
            continue
        row = np.zeros(classes)
        for member in (head, *(k for k in others.get(head, ()) if not taken[k])):
            taken[member] = True
            at = found.class_ids[member] - 1
            row[at] = max(row[at], found.scores[member])
        heads.append(head)
        scores.append(row / max(row.sum(), 1e-9))
    return np.array(heads, np.intp), np.array(scores).reshape(-1, classes)


def _probability(scores: Floats, thresholds: Floats) -> Floats:
    limits = np.clip(thresholds, 0.02, 0.98)  # a slider at an end gives no information about the odds
    return 1 / (1 + np.exp(-SLOPE * (_logit(scores) - _logit(limits)) - math.log(AT_THRESHOLD / (1 - AT_THRESHOLD))))


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)))


def _entropy2(p: Floats) -> Floats:
    return _entropy(np.stack([p, 1 - p], -1))


def _entropy(shares: Floats) -> Floats:
    """Return the entropy over the last axis, bits."""
    return -np.asarray((shares * np.log2(np.where(shares > 0, shares, 1))).sum(-1))

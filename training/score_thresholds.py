"""The score thresholds of a model: one that separates cells from errors, moved for classes with enough cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from napari_cellseg.instances import InstanceMasks, intersections

__all__ = ["best_scores"]

_LEAST_IOU = 0.5
_AS_GOOD = 0.02
"""Thresholds whose F1 is at most this much below the best are as good; the middle of their range is chosen."""
_HALF_TRUSTED = 100
"""Ground-truth cells of a class at which its own threshold counts as much as the common one."""
_UNKNOWN = 0.5

Cells = Mapping[str, InstanceMasks]
Ranked = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]


def best_scores(truth: Cells, found: Cells, classes: int) -> dict[int, float]:
    """Return the score threshold of each class_id from the cells of some images.

    The common threshold is best for the F1 of all cells regardless of class, with an IoU of 0.5 or more. It does not
    hide a right cell because its class is rare or hard. The threshold of a class moves from it towards the one that is
    best for that class alone, half of the way with 100 ground-truth cells: with few cells the best is chance.

    Parameters
    ----------
    truth, found : {image id: InstanceMasks}
        Ground truth, and predicted cells down to a low score, of the same images.
    classes : int
        Number of classes K.
    """
    counts = np.bincount(np.concatenate([cells.class_ids for cells in truth.values()]), minlength=classes + 1)
    common = _best_score(*_ranked(truth, found), int(counts.sum()), _UNKNOWN)
    thresholds = {}
    for class_id in range(1, classes + 1):
        of_class = [
            {name: cells.select(cells.class_ids == class_id) for name, cells in side.items()} for side in (truth, found)
        ]
        count = int(counts[class_id])
        own = _best_score(*_ranked(*of_class), count, common)
        share = count / (count + _HALF_TRUSTED)
        thresholds[class_id] = round(share * own + (1 - share) * common, 4)
    return thresholds


def _ranked(truth: Cells, found: Cells) -> Ranked:
    """Return score and correctness of all predicted cells, best score first."""
    scores = np.concatenate([found[name].scores.astype(float) for name in truth])
    hits = np.concatenate([_hits(truth[name], found[name]) for name in truth])
    order = np.argsort(-scores, kind="stable")
    return scores[order], hits[order]


def _hits(truth: InstanceMasks, found: InstanceMasks) -> npt.NDArray[np.bool_]:
    """Return which predicted cells have a ground-truth cell that no cell with a higher score has."""
    i, j, shared = intersections(truth, found)
    iou = shared / (truth.areas[i] + found.areas[j] - shared)
    near = iou >= _LEAST_IOU
    i, j, iou = i[near], j[near], iou[near]
    hits, taken = np.zeros(len(found), bool), np.zeros(len(truth), bool)
    for pair in np.lexsort((-iou, -found.scores[j])).tolist():
        if not hits[j[pair]] and not taken[i[pair]]:
            hits[j[pair]] = taken[i[pair]] = True
    return hits


def _best_score(scores: npt.NDArray[np.float64], hits: npt.NDArray[np.bool_], cells: int, otherwise: float) -> float:
    """Return the middle of the thresholds with the best F1, for (P,) ranked scores and their correctness."""
    if not hits.any():
        return otherwise
    f1 = 2 * np.cumsum(hits) / (np.arange(1, len(hits) + 1) + cells)
    f1[:-1][scores[:-1] == scores[1:]] = 0  # a threshold cannot separate equal scores
    good = np.flatnonzero(f1 >= f1.max() - _AS_GOOD)
    after = int(good[-1]) + 1
    lowest = scores[after] if after < len(scores) else 0.0
    return float(scores[good[0]] + lowest) / 2

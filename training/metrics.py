"""How well predicted cells agree with ground-truth cells: PQ, AJI, Dice, F1 and confusion, as in HoVer-Net.

Definitions: Graham et al., "HoVer-Net: Simultaneous segmentation and classification of nuclei in multi-tissue histology
images", Medical Image Analysis 58 (2019) 101563, and its public `compute_stats.py`; PQ: Kirillov et al., "Panoptic
Segmentation", CVPR 2019; AJI: Kumar et al., IEEE TMI 36 (2017) 1550.

The papers define them on label images, where a pixel belongs to one cell. Here each cell keeps all its pixels, because
cells may overlap, so that a perfect prediction scores 1; without overlap the values are equal. A cell has at most one
match: the best, where overlapping cells have several with an IoU above 0.5. Everything works on the sparse list of
pairs that share pixels, never on an (N, H, W) array of masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from napari_cellseg.instances import InstanceMasks, intersections

__all__ = [
    "MATCH_RADIUS_PX",
    "CentroidPairs",
    "Overlaps",
    "PanopticCounts",
    "aggregated_jaccard",
    "class_f1",
    "confusion",
    "detection_f1",
    "dice",
    "overlaps",
    "pair_centroids",
    "panoptic_counts",
    "same_cells",
]

MATCH_RADIUS_PX = 12.0
"""Maximum distance of matching centroids in F1: HoVer-Net's value, for 40x (0.25 um per px)."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """Which ground-truth and predicted cells of one image share pixels.

    Attributes
    ----------
    true_areas, found_areas : (N,), (M,) int64
        Pixels of each cell.
    true_classes, found_classes : (N,), (M,) int64
        class_ids.
    i, j, shared : (P,) int64
        Pair ``p`` is ground-truth cell ``i[p]`` and predicted cell ``j[p]`` with ``shared[p] > 0`` px, sorted by i,
        then j.
    true_pixels, found_pixels, shared_pixels : int
        Pixels of the ground truth, of the prediction, and of both.
    """

    true_areas: Ints
    found_areas: Ints
    true_classes: Ints
    found_classes: Ints
    i: Ints
    j: Ints
    shared: Ints
    true_pixels: int
    found_pixels: int
    shared_pixels: int

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each pair, (P,)."""
        return self.shared / self._unions()

    def _unions(self) -> Ints:
        return self.true_areas[self.i] + self.found_areas[self.j] - self.shared

    def matches(self, among: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.bool_]:
        """Return (P,) bool: the best pair of each cell with an IoU above 0.5; ``among`` limits the pairs."""
        iou = self.iou
        candidates = np.flatnonzero(iou > 0.5 if among is None else (iou > 0.5) & among)
        chosen = np.zeros(len(iou), bool)
        if len(np.unique(self.i[candidates])) == len(np.unique(self.j[candidates])) == len(candidates):
            chosen[candidates] = True
            return chosen
        other_class = self.true_classes[self.i] != self.found_classes[self.j]
        used_i, used_j = set(), set()
        for p in candidates[np.lexsort((other_class[candidates], -iou[candidates]))].tolist():
            i, j = int(self.i[p]), int(self.j[p])
            if i not in used_i and j not in used_j:
                chosen[p] = True
                used_i.add(i)
                used_j.add(j)
        return chosen


def overlaps(truth: InstanceMasks, found: InstanceMasks) -> Overlaps:
    """Count the shared pixels of every pair of a ground-truth and a predicted cell."""
    i, j, shared = intersections(truth, found)
    inside_truth, inside_found = (cells.paste(np.ones(len(cells), np.uint8), np.uint8) > 0 for cells in (truth, found))
    return Overlaps(
        true_areas=truth.areas,
        found_areas=found.areas,
        true_classes=truth.class_ids.astype(np.int64),
        found_classes=found.class_ids.astype(np.int64),
        i=i.astype(np.int64),
        j=j.astype(np.int64),
        shared=shared,
        true_pixels=int(np.count_nonzero(inside_truth)),
        found_pixels=int(np.count_nonzero(inside_found)),
        shared_pixels=int(np.count_nonzero(inside_truth & inside_found)),
    )


def dice(o: Overlaps) -> float:
    """Return twice the shared foreground over the sum of both foregrounds; NaN when both are empty."""
    total = o.true_pixels + o.found_pixels
    return 2 * o.shared_pixels / total if total else float("nan")


def aggregated_jaccard(o: Overlaps) -> float:
    """Return the AJI: shared pixels of best pairs over their unions and all unpaired cells; NaN without cells.

    As in HoVer-Net's `get_fast_aji`, several ground-truth cells may share one predicted cell.
    """
    order = np.lexsort((o.j, -o.iou, o.i))  # the pair with the highest IoU first, for each ground-truth cell
    _, first = np.unique(o.i[order], return_index=True)
    best = order[first]
    union = int((o.true_areas[o.i[best]] + o.found_areas[o.j[best]] - o.shared[best]).sum())
    union += int(np.delete(o.true_areas, o.i[best]).sum() + np.delete(o.found_areas, np.unique(o.j[best])).sum())
    return int(o.shared[best].sum()) / union if union else float("nan")


@dataclass(frozen=True)
class PanopticCounts:
    """The counts behind panoptic quality; add those of several images to pool them."""

    matched: int = 0
    false: int = 0
    missed: int = 0
    iou_sum: float = 0.0

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(
            self.matched + other.matched,
            self.false + other.false,
            self.missed + other.missed,
            self.iou_sum + other.iou_sum,
        )

    @property
    def dq(self) -> float:
        """Detection quality, the F1 of matches with IoU above 0.5; NaN without any cell."""
        total = self.matched + 0.5 * (self.false + self.missed)
        return self.matched / total if total else float("nan")

    @property
    def sq(self) -> float:
        """Segmentation quality, the mean IoU of the matches; 0 without a match, NaN without any cell."""
        if self.matched:
            return self.iou_sum / self.matched
        return 0.0 if self.false + self.missed else float("nan")

    @property
    def pq(self) -> float:
        """Panoptic quality, DQ x SQ."""
        return self.dq * self.sq


def panoptic_counts(o: Overlaps, class_id: int | None = None) -> PanopticCounts:
    """Count matches within one class, or regardless of class."""
    true_cells, found_cells = np.ones(len(o.true_areas), bool), np.ones(len(o.found_areas), bool)
    if class_id is not None:
        true_cells, found_cells = o.true_classes == class_id, o.found_classes == class_id
    pairs = o.matches(true_cells[o.i] & found_cells[o.j])
    matched = int(pairs.sum())
    return PanopticCounts(
        matched, int(found_cells.sum()) - matched, int(true_cells.sum()) - matched, float(o.iou[pairs].sum())
    )


def same_cells(o: Overlaps) -> tuple[Ints, Ints]:
    """Return the matches of equal class: (P,) ground-truth and (P,) predicted cells."""
    same = o.matches(o.true_classes[o.i] == o.found_classes[o.j])
    return o.i[same], o.j[same]


def confusion(o: Overlaps, classes: int) -> Ints:
    """Count the predicted class of each ground-truth cell, matched by IoU above 0.5 regardless of class.

    Returns
    -------
    (K + 1, K + 1) int64
        Row: ground-truth class_id, 0 for "no cell there"; column: predicted class_id, 0 for "missed".
    """
    pairs = o.matches()
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    i, j = o.i[pairs], o.j[pairs]
    np.add.at(counts, (o.true_classes[i], o.found_classes[j]), 1)
    np.add.at(counts[:, 0], np.delete(o.true_classes, i), 1)
    np.add.at(counts[0], np.delete(o.found_classes, j), 1)
    return counts


# ---- F1 by centroids ----


@dataclass(frozen=True)
class CentroidPairs:
    """The classes of cells paired by their centroids, (P,), and of unpaired cells."""

    true_paired: Ints
    found_paired: Ints
    true_alone: Ints
    found_alone: Ints


def pair_centroids(truth: InstanceMasks, found: InstanceMasks, radius: float = MATCH_RADIUS_PX) -> CentroidPairs:
    """Pair cells one to one with the least sum of centroid distances; drop pairs further apart than ``radius`` px."""
    true_classes, found_classes = truth.class_ids.astype(np.int64), found.class_ids.astype(np.int64)
    if not len(truth) or not len(found):
        none = np.zeros(0, np.int64)
        return CentroidPairs(none, none, true_classes, found_classes)
    distances = cdist(_centroids(truth), _centroids(found))
    i, j = linear_sum_assignment(distances)
    near = distances[i, j] <= radius
    i, j = i[near], j[near]
    return CentroidPairs(true_classes[i], found_classes[j], np.delete(true_classes, i), np.delete(found_classes, j))


def _centroids(cells: InstanceMasks) -> npt.NDArray[np.float64]:
    inside = []
    for mask in cells.masks:
        rows, columns = mask.sum(1), mask.sum(0)
        inside.append((columns @ np.arange(len(columns)) / columns.sum(), rows @ np.arange(len(rows)) / rows.sum()))
    return np.array(inside) + cells.boxes[:, :2]


def detection_f1(pairs: Sequence[CentroidPairs]) -> float:
    """Return F_d, the F1 of detection regardless of class over all images; NaN without any cell."""
    paired = sum(len(p.true_paired) for p in pairs)
    alone = sum(len(p.true_alone) + len(p.found_alone) for p in pairs)
    return 2 * paired / (2 * paired + alone) if paired + alone else float("nan")


def class_f1(pairs: Sequence[CentroidPairs], class_id: int) -> float:
    """Return F_c of a class over all images; wrong classes weigh 2, missed and invented cells 1; NaN without cells."""
    right = wrong = alone = 0
    for p in pairs:
        is_true, is_found = p.true_paired == class_id, p.found_paired == class_id
        right += int((is_true & is_found).sum())
        wrong += int((is_true ^ is_found).sum())
        alone += int((p.true_alone == class_id).sum() + (p.found_alone == class_id).sum())
    total = 2 * right + 2 * wrong + alone
    return 2 * right / total if total else float("nan")

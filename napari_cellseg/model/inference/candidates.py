"""Candidate masks of one cell: which is the best, and the same cell from small to large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.model.inference.stain import nuclear_stain

__all__ = ["Candidates", "ladder"]

Floats = npt.NDArray[np.float32]
BoolMask = npt.NDArray[np.bool_]

_LEVELS = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Thresholds of the soft masks from which the sizes are taken."""
_STEP = 1.35
"""Ratio of the areas of neighbouring sizes."""
_STEPS = 3
"""Sizes on each side of the first one."""
_LEAST_PX = 10
# Least squares of the IoU with the ground truth, over the 493 missed cells of the tiles of benchmarks/click_to_cell.py:
# its figures are of the same cells. Cross-validated (five folds of cells), a prototype of this ranking had a mean IoU
# of 0.66.
_OFF_CENTRE, _SCORE, _CONFIDENCE, _TAKEN, _AREA, _CONTRAST = -0.485, 0.07, 0.68, -0.105, 0.039, 0.214
_RIM = 3
"""Width of the rims inside and outside an outline whose stain is compared, px of the image."""


@dataclass(frozen=True)
class Candidates:
    """Soft masks of one cell, as seen in a region.

    Attributes
    ----------
    soft : (N, h, w) float32
        Probability of "cell" of each pixel of the region.
    scores : (N,) float32
        The model's score of each, 0..1.
    pixels : (h, w, 3) uint8
    taken : (h, w) bool
        Pixels of other cells.
    """

    soft: Floats
    scores: Floats
    pixels: npt.NDArray[np.uint8]
    taken: BoolMask

    def quality_at(self, y: int, x: int) -> Floats:
        """Estimate the IoU of each candidate with the cell whose centre was clicked, (N,); -1 if it does not cover it.

        A good candidate is centred on the click, certain of its pixels, more stained than its surroundings and free of
        other cells.
        """
        stain = nuclear_stain(self.pixels)
        found = np.full(len(self.soft), -1, np.float32)
        for i, soft in enumerate(self.soft):
            mask = soft > 0.5
            area = int(mask.sum())
            if area < _LEAST_PX or not mask[y, x]:
                continue
            rows, columns = np.nonzero(mask)
            off = math.hypot(rows.mean() - y, columns.mean() - x) / math.sqrt(area / math.pi)
            found[i] = (
                _OFF_CENTRE * off
                + _SCORE * self.scores[i]
                + _CONFIDENCE * float(soft[mask].mean())
                + _TAKEN * float(self.taken[mask].mean())
                + _AREA * math.log(area)
                + _CONTRAST * _contrast(mask, stain, self.taken, (rows, columns))
            )
        return found

    def fit_to(self, box: Sequence[float]) -> tuple[int, float]:
        """Return the candidate and the threshold whose mask has the extent of a box, (x0, y0, x1, y1) px."""
        best = (-1.0, 0, 0.5)
        for i, soft in enumerate(self.soft):
            for level in np.arange(0.15, 0.86, 0.05).tolist():
                fit = _extent_iou(soft > level, box) - 0.1 * abs(level - 0.45) - 0.02 * i
                best = max(best, (fit, i, level))
        return best[1], best[2]


def ladder(
    candidates: Candidates, quality: Floats, first: BoolMask, at: tuple[int, int]
) -> tuple[list[BoolMask], list[int], int]:
    """Return the same cell from small to large: masks (h, w), the candidate of each (-1: ``first``), its place.

    The areas grow in steps of a third; of each size the best candidate at the best threshold is taken.

    Parameters
    ----------
    candidates : Candidates
    quality : (N,)
        As of `Candidates.quality_at`; negative candidates are left out.
    first : (h, w) bool
        The best mask.
    at : (int, int)
        y, x of a pixel that all sizes have.
    """
    area = int(first.sum())
    best: dict[int, tuple[float, BoolMask, int]] = {}
    for i in np.flatnonzero(quality > -1).tolist():
        for level in _LEVELS:
            mask = candidates.soft[i] > level
            size = int(mask.sum())
            if size < _LEAST_PX or not mask[at]:
                continue
            step = round(math.log(size / area) / math.log(_STEP))
            value = float(quality[i]) - 0.2 * abs(level - 0.5) ** 1.5
            if step and abs(step) <= _STEPS and (step not in best or value > best[step][0]):
                best[step] = value, mask, i
    steps = sorted({*best, 0})
    masks = [first if step == 0 else best[step][1] for step in steps]
    origin = [-1 if step == 0 else best[step][2] for step in steps]
    return masks, origin, steps.index(0)


def _contrast(
    mask: BoolMask, stain: Floats, taken: BoolMask, pixels: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
) -> float:
    """Return by how much the rim inside an outline is more stained than the rim outside, optical density."""
    rows, columns = pixels
    reach = _RIM + 1
    window = (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns.min()) - reach, 0), int(columns.max()) + reach + 1),
    )
    inside, density, other = mask[window], stain[window], taken[window]
    distance = ndimage.distance_transform_cdt(inside, "taxicab")
    away = ndimage.distance_transform_cdt(~inside, "taxicab")
    rim = (away > 1) & (away <= _RIM)
    free = rim & ~other
    outside = free if free.any() else rim
    within = (distance > 0) & (distance <= _RIM)
    return float(density[within].mean() - density[outside].mean()) if outside.any() else 0.0


def _extent_iou(mask: BoolMask, box: Sequence[float]) -> float:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    width, height = min(x1, box[2]) - max(x0, box[0]), min(y1, box[3]) - max(y0, box[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return float(shared / ((x1 - x0) * (y1 - y0) + (box[2] - box[0]) * (box[3] - box[1]) - shared))

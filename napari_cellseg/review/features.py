"""What a cell looks like, as the few numbers from which the queue learns, each with its words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_cellseg.review.cells import Box, Cell, overlap
from napari_cellseg.review.doubts import Doubt, Norm, Reason, Shape

__all__ = ["FEATURES", "Feature", "features_of", "surroundings"]

RING_PX = 4
"""Width of the frame around a cell whose stain is compared with that of the cell."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number; ``high`` and ``low`` are its words for a cell above and below the average, empty if it needs none."""

    high: str
    low: str


FEATURES = (
    Feature("high score", "low score"),
    Feature("another class likely", ""),
    Feature("large", "small"),
    Feature("unusual size", "usual size"),
    Feature("regular shape", "odd shape"),
    Feature("overlaps", "no overlap"),
    Feature("at the border", "not at the border"),
    Feature("dark", "pale"),
    Feature("crowded", "few neighbours"),
)
"""In the order of the numbers of `features_of`."""


def surroundings(cell: Cell) -> Box:
    """Return the box within which other cells are neighbours: half a cell more on every side, or out of the image."""
    x0, y0, x1, y1 = cell.box
    by = (x1 - x0 + y1 - y0) // 4 + 1
    return x0 - by, y0 - by, x1 + by, y1 + by


def features_of(
    cell: Cell,
    shape: Shape,
    norm: Norm | None,
    doubts: Sequence[Doubt],
    neighbours: int,
    rgb: npt.NDArray[np.uint8] | None,
) -> tuple[float, ...]:
    """Return the numbers of a cell, in the order of `FEATURES`.

    Size and shape are in spreads of the class of the cell, so that they mean the same in another image.

    Parameters
    ----------
    cell : Cell
    shape, norm : Shape, Norm or None
        Of the cell and of its class; without a norm, the cell is of usual size and shape.
    doubts : sequence of Doubt
        What the queue found: overlaps, another class, the border.
    neighbours : int
        Number of other cells in its `surroundings`.
    rgb : (H, W, 3) uint8, optional
        The image; without it the stain is that of the surroundings.
    """
    size = 0.0 if norm is None else (shape.log_area - norm.log_area) / norm.log_area_spread
    fit = 0.0 if norm is None else (shape.fit - norm.fit) / norm.fit_spread
    strength = dict.fromkeys((Reason.AMBIGUOUS, Reason.OVERLAP, Reason.BORDER), 0.0)
    for doubt in doubts:
        if doubt.reason in strength:
            strength[doubt.reason] = max(strength[doubt.reason], doubt.value)
    return (
        cell.score,
        strength[Reason.AMBIGUOUS],
        size,
        abs(size),
        fit,
        strength[Reason.OVERLAP],
        strength[Reason.BORDER],
        0.0 if rgb is None else _stain(cell, rgb),
        math.log1p(neighbours),
    )


def _stain(cell: Cell, rgb: npt.NDArray[np.uint8]) -> float:
    """Return how much darker a cell is than the frame around its box and the corners in it, 0..1; below 0 if paler."""
    x0, y0, x1, y1 = cell.box
    box = overlap((x0 - RING_PX, y0 - RING_PX, x1 + RING_PX, y1 + RING_PX), (0, 0, rgb.shape[1], rgb.shape[0]))
    if box is None:
        return 0.0
    grey = rgb[box[1] : box[3], box[0] : box[2]].sum(2, dtype=np.float32) / 765
    mask = cell.crop(box)
    inside = float(grey[mask].sum())
    outside = mask.size - cell.area
    return 0.0 if not outside else (float(grey.sum()) - inside) / outside - inside / cell.area

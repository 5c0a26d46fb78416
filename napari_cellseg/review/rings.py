"""Polygons to pixels, in time proportional to the area, not to area times corners: a lasso has hundreds of corners."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from napari_cellseg.review.cells import BoolMask, Box, overlap

__all__ = ["fill_rings"]


def fill_rings(rings: Iterable[npt.ArrayLike], frame: Box) -> tuple[Box, BoolMask] | None:
    """Fill closed rings by the even-odd rule: a pixel is inside if its centre is.

    Parameters
    ----------
    rings : iterable of (M, 2) float
        Corners x, y in px along pixel edges: pixel 0 spans 0..1. A ring of fewer than three corners has no area.
    frame : (x0, y0, x1, y1)
        The region to fill.

    Returns
    -------
    (box, (h, w) bool), the crop need not be tight; None if no ring touches the frame
    """
    corners = [ring for ring in (np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings) if len(ring) >= 3]
    if not corners:
        return None
    everything = np.concatenate(corners)
    low, high = np.floor(everything.min(0)).astype(int).tolist(), np.ceil(everything.max(0)).astype(int).tolist()
    box = overlap((low[0], low[1], high[0], high[1]), frame)
    if box is None:
        return None
    width, height = box[2] - box[0], box[3] - box[1]
    starts = everything - (box[0], box[1])
    ends = np.concatenate([np.roll(ring, -1, 0) for ring in corners]) - (box[0], box[1])
    row, column = _crossings(starts, ends, height)
    # Each crossing of a row's middle toggles inside and outside.
    changes = np.zeros((height, width + 1), np.int32)
    np.add.at(changes, (row, np.clip(column, 0, width)), 1)
    return box, (np.cumsum(changes[:, :width], axis=1) % 2).astype(bool)


def _crossings(
    starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float64], height: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return (row, first column whose centre lies after it) of each crossing of an edge with the middle of a row."""
    first = np.clip(np.ceil(np.minimum(starts[:, 1], ends[:, 1]) - 0.5), 0, height).astype(np.intp)
    last = np.clip(np.ceil(np.maximum(starts[:, 1], ends[:, 1]) - 0.5), 0, height).astype(np.intp)
    count = last - first
    edge = np.repeat(np.arange(len(starts)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (xa, ya), (xb, yb) = starts[edge].T, ends[edge].T
    x = xa + (row + 0.5 - ya) * (xb - xa) / (yb - ya)
    return row, np.ceil(np.clip(x, -1e9, 1e9) - 0.5).astype(np.intp)

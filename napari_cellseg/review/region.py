"""The region of interest of an image: the part that is annotated, as a polygon; nothing outside it is ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.edits import Placed, polygon_mask

__all__ = ["LEAST_SIDE_PX", "Region", "inside", "placed_region", "tidy_region"]

Region = tuple[tuple[float, float], ...]
"""Corners as (y, x) px, pixel centres at whole numbers; empty for the whole image."""

LEAST_SIDE_PX = 16
"""A smaller region, px, is refused: it holds no whole cell."""


def tidy_region(points: Sequence[Sequence[float]], image_size: tuple[int, int]) -> Region:
    """Return the corners moved into an image of (height, width) px, to a tenth of a px; empty if nothing is left."""
    height, width = image_size
    places = np.clip(np.asarray(points, float).reshape(-1, 2), -0.5, (height - 0.5, width - 0.5)).round(1)
    kept = [place for i, place in enumerate(places.tolist()) if i == 0 or place != places[i - 1].tolist()]
    region = tuple((float(y), float(x)) for y, x in kept)
    return region if placed_region(region, image_size) is not None else ()


def placed_region(region: Region, image_size: tuple[int, int]) -> Placed | None:
    """Return the box (x0, y0, x1, y1) of a region and its (h, w) bool mask; None if it covers no pixel."""
    return polygon_mask(region, (0, 0, image_size[1], image_size[0])) if len(region) > 2 else None


def inside(cells: InstanceMasks, region: Region) -> npt.NDArray[np.bool_]:
    """Return which cells have at least half of their pixels in a region, (N,) bool; all of them without a region."""
    if not region:
        return np.ones(len(cells), bool)
    placed = placed_region(region, cells.image_size)
    if placed is None:
        return np.zeros(len(cells), bool)
    (left, top, right, bottom), mask = placed
    whole = np.zeros(cells.image_size, bool)
    whole[top:bottom, left:right] = mask
    shares = [
        2 * np.count_nonzero(cell & whole[y0:y1, x0:x1]) >= np.count_nonzero(cell)
        for cell, (x0, y0, x1, y1) in zip(cells.masks, cells.boxes.tolist(), strict=True)
    ]
    return np.array(shares, bool)

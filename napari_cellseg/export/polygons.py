"""Masks as polygons with holes along the pixel edges, and back to the very same pixels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.outlines import outlines, signed_area
from napari_cellseg.review import BoolMask, Box

__all__ = ["Polygon", "fill_rings", "polygons_of"]

Ring = npt.NDArray[np.int32]
Polygon = list[Ring]
"""An outer ring and its holes, each (M, 2) int corners x, y in px, not closed; pixel 0 spans 0..1."""


def polygons_of(mask: BoolMask, box: Box) -> list[Polygon]:
    """Return one polygon for each 4-connected part of a mask crop at ``box``."""
    parts, count = ndimage.label(mask)
    polygons = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        part = mask if count == 1 else parts[rows, columns] == number
        x, y = (0, 0) if count == 1 else (columns.start, rows.start)
        polygons.append(sorted(outlines(part, box[0] + x, box[1] + y), key=signed_area, reverse=True))
    return polygons


def fill_rings(rings: Iterable[npt.ArrayLike], image_size: tuple[int, int]) -> tuple[Box, BoolMask] | None:
    """Fill closed rings by the even-odd rule: a pixel is in when its centre is; None when none of the image is.

    Parameters
    ----------
    rings : iterable of (M, 2) float
        Corners x, y in px.
    image_size : (int, int)
        Height and width, px.
    """
    from skimage.draw import polygon

    corners = [np.asarray(ring, float).reshape(-1, 2) for ring in rings]
    corners = [ring for ring in corners if len(ring) >= 3]
    if not corners:
        return None
    everything = np.concatenate(corners)
    low = np.maximum(np.floor(everything.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(everything.max(0)).astype(int), (image_size[1], image_size[0]))
    if (high <= low).any():
        return None
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), bool)
    for ring in corners:
        x, y = (ring - low - 0.5).T
        rows, columns = polygon(y, x, mask.shape)
        mask[rows, columns] ^= True
    return (int(low[0]), int(low[1]), int(high[0]), int(high[1])), mask

"""Converts polygons of untrusted files to masks, as pycocotools does, in memory bounded by the image.

pycocotools samples every edge at a fifth of a pixel, wherever the edge leads: one corner at x = 1e300 takes all memory
or crashes the process. So rings are clipped to the image, and absurd ones refused, before pycocotools gets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.json_gate import short
from napari_cellseg.formats.rle import Decoded, check_frame, decode

__all__ = ["MAX_COORDINATE", "MAX_LENGTH", "checked_ring", "checked_rings", "decode_polygons"]

MAX_COORDINATE = 1e6
"""Limit of a coordinate, px: ten times the longest side of an image."""
MAX_LENGTH = 2_000_000
"""Longest outline of one cell within the image, px; pycocotools takes about 100 bytes per px of it."""

_MARGIN = 1.0  # px kept around the image, so that an edge along its border stays as it is

Ring = npt.NDArray[np.float64]


def decode_polygons(rings: Any, image_size: tuple[int, int]) -> Decoded | None:
    """Return the tight box and the mask crop of the union of polygons.

    Parameters
    ----------
    rings : list of list of float
        ``[x, y, x, y, ...]`` of three or more corners each, in px, as COCO writes them.
    image_size : (int, int)
        Height and width, px; the polygons are clipped to it.

    Returns
    -------
    (box (4,) int32 x0, y0, x1, y1 half-open, crop (y1 - y0, x1 - x0) bool), or None for a mask without a pixel

    Raises
    ------
    AnnotationError
        No polygons, corners that are not numbers or lie far outside, or an absurdly long outline.
    """
    check_frame(image_size)
    if not isinstance(rings, list) or not rings:
        raise AnnotationError("it has no segmentation.")
    clipped = [ring for ring in (_clipped(checked_ring(ring), image_size) for ring in rings) if len(ring) >= 3]
    if not clipped:
        return None
    _check_length(clipped)
    height, width = image_size
    merged = coco_mask.merge(coco_mask.frPyObjects([ring.ravel().tolist() for ring in clipped], height, width))
    return decode(merged["counts"], image_size)


def checked_rings(rings: Sequence[npt.ArrayLike]) -> list[Ring]:
    """Return rings as (M, 2) corners x, y, unchanged; refuse those that would take too much memory to fill.

    Raises
    ------
    AnnotationError
        Corners that are not pairs of numbers or lie far outside, or an absurdly long outline.
    """
    try:
        arrays = [np.array(ring, np.float64).reshape(-1, 2) for ring in rings]
    except (TypeError, ValueError, OverflowError) as error:
        raise AnnotationError(f"a polygon needs pairs of numbers ({error}).") from error
    for array in arrays:
        _check_places(array)
    _check_length(arrays)
    return arrays


def checked_ring(values: Any) -> Ring:
    """Return the (M, 2) corners x, y of ``[x, y, x, y, ...]``, M at least 3, or raise an `AnnotationError`."""
    if not isinstance(values, list) or len(values) < 6 or len(values) % 2:
        raise AnnotationError(f"a polygon needs three or more points x, y, not {short(values)}.")
    # float or int, neither bool nor text: numpy would read "1" and True as 1.
    if not set(map(type, values)) <= {int, float}:
        raise AnnotationError(f"a polygon needs numbers, not {short(values)}.")
    try:
        ring = np.array(values, np.float64).reshape(-1, 2)
    except OverflowError:
        raise AnnotationError("a polygon has a number that is too large.") from None
    _check_places(ring)
    return ring


def _check_places(ring: Ring) -> None:
    far = ~(np.abs(ring) <= MAX_COORDINATE)  # written so that NaN also counts as far
    if far.any():
        raise AnnotationError(
            f"a polygon has the coordinate {ring[far][0]:g}; coordinates are in px, up to {MAX_COORDINATE:.0f}."
        )


def _check_length(rings: Sequence[Ring]) -> None:
    length = sum(float(np.abs(ring - np.roll(ring, -1, 0)).max(1).sum()) for ring in rings if len(ring))
    if length > MAX_LENGTH:
        raise AnnotationError(f"its outline is {length:.0f} px long; the limit for a cell is {MAX_LENGTH} px.")


def _clipped(ring: Ring, image_size: tuple[int, int]) -> Ring:
    """Clip a ring to the four sides of the image in turn (Sutherland & Hodgman, 1974); a ring inside is unchanged."""
    for axis, side in ((0, image_size[1]), (1, image_size[0])):
        for limit, sign in ((-_MARGIN, -1.0), (side + _MARGIN, 1.0)):
            ring = _cut(ring, axis, limit, sign)
    return ring


def _cut(ring: Ring, axis: int, limit: float, sign: float) -> Ring:
    """Keep the part of a ring where ``sign * (coordinate - limit) <= 0``."""
    inside = sign * (ring[:, axis] - limit) <= 0
    if inside.all() or not len(ring):
        return ring
    following = np.roll(ring, -1, 0)
    crosses = inside != np.roll(inside, -1)
    # Each corner is followed by the point where its edge crosses the line, if it does.
    both = np.stack([ring, ring], 1)
    start, end = ring[crosses], following[crosses]
    share = (limit - start[:, axis]) / (end[:, axis] - start[:, axis])
    both[crosses, 1] = start + share[:, None] * (end - start)
    both[crosses, 1, axis] = limit
    kept: Ring = both[np.stack([inside, crosses], 1)]
    return kept

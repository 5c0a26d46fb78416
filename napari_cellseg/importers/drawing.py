"""Converts polygons and dense masks of foreign files to tight crops, with a remark on clipped parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.label_checks import check_spread
from napari_cellseg.formats.polygon_mask import checked_ring, decode_polygons
from napari_cellseg.formats.rle import Decoded
from napari_cellseg.importers.result import Unusable

__all__ = [
    "BAD_PART",
    "CLIPPED",
    "Drawn",
    "cell_of_mask",
    "drawn",
    "drawn_even_odd",
    "ellipse",
    "encloses",
    "joined",
    "label_cells",
]

CLIPPED = "reaches beyond the image; only what is inside is kept"
BAD_PART = "a part of fewer than three points was dropped"

Drawn = tuple[Decoded | None, str]
"""The cell (None without a pixel in the image), and its difference from the source."""


def drawn(polygons: Sequence[Any], size: tuple[int, int]) -> Drawn:
    """Fill polygons with holes.

    Parameters
    ----------
    polygons : sequence of sequence of ring
        Of each polygon the outer ring, then its holes; a ring is ``[x, y, x, y, ...]`` in px, pixel 0 spans 0..1.
    size : (int, int)
        Height and width of the image, px.

    Raises
    ------
    Unusable
        No part has three points.
    AnnotationError
        Corners are not numbers, or are absurd.
    """
    parts, remark = [], ""
    for polygon in polygons:
        rings = [_flat(ring) for ring in polygon]
        if not rings or len(rings[0]) < 6 or len(rings[0]) % 2:
            remark = BAD_PART
            continue
        parts.append([rings[0], *(ring for ring in rings[1:] if len(ring) >= 6)])
    if not parts:
        raise Unusable("it has no outline of three or more points")
    height, width = size
    corners = np.concatenate([checked_ring(polygon[0]) for polygon in parts])
    if corners.min() < -0.5 or corners[:, 0].max() > width + 0.5 or corners[:, 1].max() > height + 0.5:
        remark = remark or CLIPPED
    if all(len(polygon) == 1 for polygon in parts):
        return decode_polygons([polygon[0] for polygon in parts], size), remark
    crops = [crop for polygon in parts if (crop := _with_holes(polygon, size)) is not None]
    return _union(crops), remark


def drawn_even_odd(rings: Sequence[Any], size: tuple[int, int]) -> Drawn:
    """Fill rings by the even-odd rule: a ring inside another is a hole, a ring inside the hole is filled."""
    flat = [ring for ring in map(_flat, rings) if len(ring) >= 6]
    if not flat:
        raise Unusable("it has no outline of three or more points")
    whole, remark = drawn([[ring] for ring in flat], size)
    if whole is None or len(flat) == 1:
        return whole, remark
    (x0, y0, _, _), union = whole[0].tolist(), whole[1]
    mask = np.zeros(union.shape, bool)
    for ring in flat:
        one = decode_polygons([ring], size)
        if one is not None:
            a0, b0, a1, b1 = one[0].tolist()
            mask[b0 - y0 : b1 - y0, a0 - x0 : a1 - x0] ^= one[1]
    return cell_of_mask(mask, x0, y0), remark


def ellipse(x: float, y: float, across: float, down: float, angle: float = 0.0) -> list[float]:
    """Return an ellipse with these half axes, rotated by ``angle`` radians, as a ring of 64 points."""
    turns = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    a, b = across * np.cos(turns), down * np.sin(turns)
    points = np.stack([x + a * np.cos(angle) - b * np.sin(angle), y + a * np.sin(angle) + b * np.cos(angle)], 1)
    flat: list[float] = points.ravel().tolist()
    return flat


def _flat(ring: Any) -> list[Any]:
    """Return ``[x, y, x, y, ...]`` from that form or from ``[[x, y], ...]``."""
    if isinstance(ring, np.ndarray):
        return [float(value) for value in ring.ravel()]
    if not isinstance(ring, list | tuple):
        raise AnnotationError("its outline is not a list of points")
    if ring and isinstance(ring[0], list | tuple):
        if any(not isinstance(point, list | tuple) or len(point) < 2 for point in ring):
            raise AnnotationError("its outline has a point without x and y")
        return [value for point in ring for value in point[:2]]
    return list(ring)


def _with_holes(polygon: Sequence[list[Any]], size: tuple[int, int]) -> Decoded | None:
    outer = decode_polygons([polygon[0]], size)
    if outer is None:
        return None
    (x0, y0, x1, y1), mask = outer[0].tolist(), outer[1].copy()
    for ring in polygon[1:]:
        hole = decode_polygons([ring], size)
        if hole is None:
            continue
        a0, b0, a1, b1 = hole[0].tolist()
        left, top, right, bottom = max(x0, a0), max(y0, b0), min(x1, a1), min(y1, b1)
        if right > left and bottom > top:
            mask[top - y0 : bottom - y0, left - x0 : right - x0] &= ~hole[1][
                top - b0 : bottom - b0, left - a0 : right - a0
            ]
    return cell_of_mask(mask, x0, y0)


def _union(crops: Sequence[Decoded]) -> Decoded | None:
    if len(crops) < 2:
        return crops[0] if crops else None
    boxes = np.stack([box for box, _ in crops])
    x0, y0 = boxes[:, :2].min(0).tolist()
    x1, y1 = boxes[:, 2:].max(0).tolist()
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    for (a0, b0, a1, b1), part in ((box.tolist(), part) for box, part in crops):
        mask[b0 - y0 : b1 - y0, a0 - x0 : a1 - x0] |= part
    return cell_of_mask(mask, x0, y0)


def joined(first: Decoded, second: Decoded) -> Decoded:
    """Return the union of two cells."""
    both = _union([first, second])
    assert both is not None  # each has a pixel
    return both


def encloses(box: Sequence[float], cell: Decoded) -> bool:
    """Return whether a box ``x0, y0, x1, y1`` (px) encloses a cell, with a tolerance of 1 px."""
    x0, y0, x1, y1 = cell[0].tolist()
    return bool(box[0] <= x0 + 1 and box[1] <= y0 + 1 and box[2] >= x1 - 1 and box[3] >= y1 - 1)


def cell_of_mask(mask: npt.NDArray[np.bool_], x: int = 0, y: int = 0) -> Decoded | None:
    """Return the tight box and crop of a mask whose first pixel is at ``x``, ``y``; None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    box = np.array([x + left, y + top, x + right, y + bottom], np.int32)
    return box, np.ascontiguousarray(mask[top:bottom, left:right])


def label_cells(labels: npt.NDArray[Any]) -> list[tuple[int, Decoded]]:
    """Return each value of a label image (H, W) but 0, in ascending order, with its cell.

    Raises
    ------
    AnnotationError
        The values are scattered as in a photograph.
    """
    inside = labels != 0
    values, positions = np.unique(labels[inside], return_inverse=True)
    compact = np.zeros(labels.shape, np.int32)
    compact[inside] = positions + 1
    found = []
    places = ndimage.find_objects(compact)
    check_spread(places, labels)
    for number, (value, place) in enumerate(zip(values.tolist(), places, strict=True), start=1):
        rows, columns = place
        box = np.array([columns.start, rows.start, columns.stop, rows.stop], np.int32)
        found.append((int(value), (box, compact[rows, columns] == number)))
    return found

"""Masks as valid polygons with holes along the pixel edges; `review.rings` fills them to exactly the same pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.formats.label_images import LARGEST_VALUE
from napari_cellseg.formats.outlines import outlines, signed_area
from napari_cellseg.review import BoolMask, Box

__all__ = ["Polygon", "polygons_of", "simple_rings"]

Ring = npt.NDArray[np.int32]
Polygon = list[Ring]
"""An outer ring and its holes, each (M, 2) int corners x, y in px, not closed; pixel 0 spans 0..1."""


def score_and_value(properties: Mapping[str, Any], number: int) -> tuple[float, int]:
    """Return the score and the label value stored with a polygon; 1 and ``number`` if there are none.

    Raises
    ------
    ValueError, TypeError, OverflowError
        They are not numbers, or out of range.
    """
    score, value = float(properties.get("score", 1.0)), int(properties.get("label_id", number))
    if not 0 <= score <= 1 or not 0 <= value <= LARGEST_VALUE:
        raise ValueError(f"score {score:g} must lie in 0..1, label_id {value:.17g} in 0..{LARGEST_VALUE}")
    return score, value


def polygons_of(mask: BoolMask, box: Box) -> list[Polygon]:
    """Return one polygon for each 4-connected part of a mask crop at ``box``.

    Each is valid by the OGC's rules: no ring meets itself (an outline that touches itself at a corner is split there
    into the outer ring and a hole, or into two holes), and rings touch each other at single points only.
    """
    parts, count = ndimage.label(mask)
    polygons = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        part = mask if count == 1 else parts[rows, columns] == number
        x, y = (0, 0) if count == 1 else (columns.start, rows.start)
        rings = [ring for outline in outlines(part, box[0] + x, box[1] + y) for ring in simple_rings(outline)]
        polygons.append(sorted(rings, key=signed_area, reverse=True))
    return polygons


def simple_rings(ring: Ring) -> list[Ring]:
    """Split a ring (M, 2) at repeated corners; the parts enclose the same pixels."""
    rings: list[Ring] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for x, y in ring.tolist():
        corner = (x, y)
        if corner in place:  # the part since then is a separate ring
            start = place[corner]
            rings.append(np.array(path[start:], np.int32))
            for gone in path[start:]:
                del place[gone]
            del path[start:]
        place[corner] = len(path)
        path.append(corner)
    return [*rings, np.array(path, np.int32)]

"""Masks as polygons with holes along the pixel edges, which `review.rings` fills to the very same pixels again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.formats.outlines import outlines, signed_area
from napari_cellseg.review import BoolMask, Box

__all__ = ["Polygon", "polygons_of"]

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

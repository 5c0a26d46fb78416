"""`SlideRegion`: the part of a slide that is predicted, and the cells that belong to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import ConfigError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.predict_item import Ring
from napari_cellseg.review.rings import fill_rings

__all__ = ["SlideRegion"]

Box = tuple[int, int, int, int]


class SlideRegion:
    """Polygons on a slide.

    Parameters
    ----------
    polygons : sequence of sequence of Ring
        Each an outline and its holes, px of level 0; none for the whole slide.
    size, full_size : (int, int)
        Height and width of the level that is read and of level 0, px.

    Raises
    ------
    ConfigError
        The polygons do not touch the slide.
    """

    def __init__(self, polygons: Sequence[Sequence[Ring]], size: tuple[int, int], full_size: tuple[int, int]) -> None:
        factor = np.array([size[1] / full_size[1], size[0] / full_size[0]])
        self._polygons = [[np.asarray(ring, np.float64) * factor for ring in rings] for rings in polygons]
        if not self._polygons:
            return
        every = [np.concatenate(rings) for rings in self._polygons]
        self._low, self._high = np.stack([ring.min(0) for ring in every]), np.stack([ring.max(0) for ring in every])
        corners = np.concatenate(every)
        if (corners.max(0) <= 0).any() or (corners.min(0) >= (size[1], size[0])).any():
            raise ConfigError(
                f"The region lies outside the slide, which has {full_size[1]} x {full_size[0]} px (width x height) at "
                "level 0. Give the region in px of level 0."
            )

    def touches(self, box: Box) -> bool:
        """Return whether a pixel of a box (x0, y0, x1, y1) is in the region."""
        return not self._polygons or bool(self._inside(box).any())

    def keeps(self, cells: InstanceMasks) -> npt.NDArray[np.bool_]:
        """Return which cells have at least half of their pixels in the region, (N,) bool."""
        if not self._polygons:
            return np.ones(len(cells), bool)
        pairs = zip(cells.masks, map(tuple, cells.boxes.tolist()), strict=True)
        shares = [2 * np.count_nonzero(mask & self._inside(box)) >= np.count_nonzero(mask) for mask, box in pairs]
        return np.array(shares, bool)

    def _inside(self, box: Box) -> npt.NDArray[np.bool_]:
        """Return which pixels of a box are in the region, (h, w) bool."""
        x0, y0, x1, y1 = box
        inside = np.zeros((y1 - y0, x1 - x0), bool)
        near = (self._low < (x1, y1)).all(1) & (self._high > (x0, y0)).all(1)
        for number in np.flatnonzero(near).tolist():
            filled = fill_rings(self._polygons[number], box)
            if filled is not None:
                (left, top, right, bottom), pixels = filled
                inside[top - y0 : bottom - y0, left - x0 : right - x0] |= pixels
        return inside

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
    rings : sequence of Ring
        Px of level 0; none for the whole slide.
    size, full_size : (int, int)
        Height and width of the level that is read and of level 0, px.

    Raises
    ------
    ConfigError
        The rings do not touch the slide.
    """

    def __init__(self, rings: Sequence[Ring], size: tuple[int, int], full_size: tuple[int, int]) -> None:
        factor = np.array([size[1] / full_size[1], size[0] / full_size[0]])
        self._rings = [np.asarray(ring, np.float64) * factor for ring in rings]
        if not self._rings:
            return
        corners = np.concatenate(self._rings)
        if (corners.max(0) <= 0).any() or (corners.min(0) >= (size[1], size[0])).any():
            raise ConfigError(
                f"The region lies outside the slide, which has {full_size[1]} x {full_size[0]} px (width x height) at "
                "level 0. Give the region in px of level 0."
            )

    def touches(self, box: Box) -> bool:
        """Return whether a pixel of a box (x0, y0, x1, y1) is in the region."""
        if not self._rings:
            return True
        filled = fill_rings(self._rings, box)
        return filled is not None and bool(filled[1].any())

    def keeps(self, cells: InstanceMasks) -> npt.NDArray[np.bool_]:
        """Return which cells have at least half of their pixels in the region, (N,) bool."""
        if not self._rings:
            return np.ones(len(cells), bool)
        pairs = zip(cells.masks, cells.boxes.tolist(), strict=True)
        return np.array([2 * self._shared(mask, box) >= np.count_nonzero(mask) for mask, box in pairs], bool)

    def _shared(self, mask: npt.NDArray[np.bool_], box: Sequence[int]) -> int:
        x0, y0, x1, y1 = box
        filled = fill_rings(self._rings, (x0, y0, x1, y1))
        if filled is None:
            return 0
        (left, top, right, bottom), inside = filled
        return int(np.count_nonzero(mask[top - y0 : bottom - y0, left - x0 : right - x0] & inside))

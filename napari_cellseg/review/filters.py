"""The filter that selects the cells of a bulk command."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_cellseg.review.cells import Box, Cell, Status, overlap
from napari_cellseg.review.edits import Placed, polygon_mask

__all__ = ["CellFilter"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CellFilter:
    """Conditions that a cell must all meet; None imposes no condition.

    Parameters
    ----------
    class_ids, statuses : collection, optional
        Accepted class_ids and statuses.
    min_score, max_score : float, optional
        ``min_score <= score < max_score``.
    min_area, max_area : float, optional
        ``min_area <= area <= max_area``, px.
    box : (x0, y0, x1, y1), optional
        At least half of the cell's pixels lie in it.
    polygon : (M, 2) float, optional
        At least half of the cell's pixels lie in this lasso; vertices as (y, x), px.
    flagged : bool
        Only cells with a note or flag.
    """

    class_ids: Collection[int] | None = None
    statuses: Collection[Status] | None = None
    min_score: float | None = None
    max_score: float | None = None
    min_area: float | None = None
    max_area: float | None = None
    box: Box | None = None
    polygon: npt.ArrayLike | None = None
    flagged: bool = False

    def region(self, frame: Box) -> Placed | None:
        """Return the region of the filter, clipped to the image's ``frame``; None if it has none or lies outside."""
        if self.polygon is not None:
            return polygon_mask(self.polygon, frame if self.box is None else self.box)
        box = None if self.box is None else overlap(self.box, frame)
        return None if box is None else (box, np.ones((box[3] - box[1], box[2] - box[0]), bool))

    @property
    def is_local(self) -> bool:
        """Whether the filter has a region."""
        return self.box is not None or self.polygon is not None

    def accepts(self, cell: Cell) -> bool:
        """Return whether a cell meets every condition but the region."""
        return (
            (self.class_ids is None or cell.class_id in self.class_ids)
            and (self.statuses is None or cell.status in self.statuses)
            and (self.min_score is None or cell.score >= self.min_score)
            and (self.max_score is None or cell.score < self.max_score)
            and (self.min_area is None or cell.area >= self.min_area)
            and (self.max_area is None or cell.area <= self.max_area)
            and (cell.is_flagged or not self.flagged)
        )

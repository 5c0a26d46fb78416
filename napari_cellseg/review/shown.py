"""The visible cells of an image: which ones, where, and how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_cellseg.review.cells import UNDECIDED, Box, Cell, Status, overlap, union_box
from napari_cellseg.review.filters import CellFilter
from napari_cellseg.review.grid import CellGrid
from napari_cellseg.review.history import Pair

__all__ = ["Progress", "ShownCells", "boxes_by_class"]


@dataclass(frozen=True)
class Progress:
    """The number of decided cells, of all that are shown or rejected; ``given`` labels are undecided."""

    reviewed: int
    total: int
    given: int = 0


class ShownCells:
    """The cells of an image and the rule of visibility: no rejected cells, no proposals below a minimum score.

    Parameters
    ----------
    image_size : (int, int)
        Height and width, px.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        self.frame: Box = (0, 0, image_size[1], image_size[0])
        self._grid = CellGrid()
        self._min_scores: dict[int, float] = {}
        self._tally: Counter[tuple[int, Status]] = Counter()

    @property
    def cells(self) -> Mapping[int, Cell]:
        """Every cell by id."""
        return self._grid.cells

    @property
    def min_scores(self) -> Mapping[int, float]:
        """The minimum score of visible proposed cells, by class_id."""
        return MappingProxyType(self._min_scores)

    def set_min_scores(self, min_scores: Mapping[int, float]) -> list[Cell]:
        """Set the minimum scores; returns the cells whose visibility changed."""
        proposed = [cell for cell in self.cells.values() if cell.status is Status.PROPOSED]
        before = [self.is_visible(cell) for cell in proposed]
        self._min_scores = dict(min_scores)
        flipped = []
        for cell, was_visible in zip(proposed, before, strict=True):
            if self.is_visible(cell) != was_visible:
                self._tally[cell.class_id, cell.status] += -1 if was_visible else 1
                flipped.append(cell)
        return flipped

    def is_visible(self, cell: Cell) -> bool:
        """Return whether the cell is shown."""
        if cell.status is Status.PROPOSED:
            return cell.score >= self._min_scores.get(cell.class_id, 0.0)
        return cell.status is not Status.REJECTED

    def count(self, class_id: int | None, statuses: Collection[Status] | None) -> int:
        """Count the cells shown or rejected."""
        return sum(
            number
            for (of_class, status), number in self._tally.items()
            if class_id in (None, of_class) and (statuses is None or status in statuses)
        )

    @property
    def progress(self) -> Progress:
        """The progress of the review."""
        total = self.count(None, None)
        return Progress(total - self.count(None, UNDECIDED), total, self.count(None, (Status.GIVEN,)))

    # ---- changing ----

    def apply(self, pairs: Iterable[Pair]) -> dict[int, Box]:
        """Replace the first state of each cell by the second; returns the region of each class that changes in view."""
        stale: list[tuple[int, Box]] = []
        for before, after in pairs:
            old = before if before is not None and self._count(before, -1) else None
            new = after if after is not None and self._count(after, 1) else None
            if old is None or new is None or not _looks_same(old, new):
                stale += [(cell.class_id, cell.box) for cell in (old, new) if cell is not None]
            if before is not None and after is not None:
                self._grid.replace(after)
            elif before is not None:
                self._grid.remove(before.cell_id)
            elif after is not None:
                self._grid.put(after)
        return boxes_by_class(stale)

    def _count(self, cell: Cell, step: int) -> bool:
        """Update the tally; returns whether the cell is shown."""
        visible = self.is_visible(cell)
        if visible or cell.status is Status.REJECTED:
            self._tally[cell.class_id, cell.status] += step
        return visible

    # ---- queries ----

    def view(self, class_id: int, box: Box | None) -> npt.NDArray[np.int32]:
        """Paint the visible cell_ids of a class in ascending score, so that the highest score is on top."""
        x0, y0, x1, y1 = frame = self.frame if box is None else box
        near = self._grid.of_class(class_id) if box is None else self._grid.near(class_id, frame)
        picture = np.zeros((y1 - y0, x1 - x0), np.int32)
        for cell in sorted(filter(self.is_visible, near), key=_paint_order):
            shared = overlap(cell.box, frame)
            if shared is not None:
                left, top, right, bottom = shared
                part = cell.mask[top - cell.box[1] : bottom - cell.box[1], left - cell.box[0] : right - cell.box[0]]
                picture[top - y0 : bottom - y0, left - x0 : right - x0][part] = cell.cell_id
        return picture

    def at(self, class_id: int, y: int, x: int) -> Cell | None:
        """Return the cell on top at a pixel."""
        near = self._grid.near(class_id, (x, y, x + 1, y + 1))
        hit = [cell for cell in near if self.is_visible(cell) and cell.covers(y, x)]
        return max(hit, key=_paint_order, default=None)

    def near(self, class_id: int, box: Box | None) -> list[Cell]:
        """Return the visible cells whose boxes touch ``box``, or all, by id."""
        near = self._grid.of_class(class_id) if box is None else self._grid.near(class_id, box)
        return sorted(filter(self.is_visible, near), key=attrgetter("cell_id"))

    def find(self, wanted: CellFilter, class_ids: Iterable[int]) -> tuple[int, ...]:
        """Return the ids that meet a filter; rejected cells only when its statuses ask for them."""
        region = wanted.region(self.frame)
        if wanted.is_local and region is None:
            return ()
        candidates: Iterable[Cell] = self.cells.values()
        if region is not None:
            candidates = [cell for class_id in class_ids for cell in self._grid.near(class_id, region[0])]
        rejected_too = wanted.statuses is not None and Status.REJECTED in wanted.statuses
        return tuple(
            sorted(
                cell.cell_id
                for cell in candidates
                if (self.is_visible(cell) or (rejected_too and cell.status is Status.REJECTED))
                and wanted.accepts(cell)
                and (region is None or _lies_in(cell, region))
            )
        )


def _looks_same(first: Cell, second: Cell) -> bool:
    return (
        first.class_id == second.class_id
        and first.score == second.score
        and first.box == second.box
        and (first.mask is second.mask or np.array_equal(first.mask, second.mask))
    )


def boxes_by_class(places: Iterable[tuple[int, Box]]) -> dict[int, Box]:
    """Return one box around all regions of each class."""
    found: dict[int, list[Box]] = {}
    for class_id, box in places:
        found.setdefault(class_id, []).append(box)
    return {class_id: union_box(boxes) for class_id, boxes in found.items()}


def _paint_order(cell: Cell) -> tuple[float, int]:
    return cell.score, cell.cell_id


def _lies_in(cell: Cell, region: tuple[Box, npt.NDArray[np.bool_]]) -> bool:
    box, mask = region
    shared = overlap(cell.box, box)
    if shared is None:
        return False
    x0, y0, x1, y1 = shared
    inside = cell.crop(shared) & mask[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
    return 2 * int(np.count_nonzero(inside)) >= cell.area

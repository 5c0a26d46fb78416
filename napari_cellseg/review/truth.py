"""Comparison of a review with the labels on disk: cells that only one of the two has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.cells import Box, Cell, Status
from napari_cellseg.review.conversion import cells_from
from napari_cellseg.review.doubts import Doubt, Reason, iou
from napari_cellseg.review.grid import CellGrid

__all__ = ["Truth"]

MATCH = 0.5
"""Cells with at least this intersection over union match; above it a cell can have only one match."""


class Truth:
    """The labels that a review is compared with.

    Parameters
    ----------
    labels : InstanceMasks
        Cells of the same image.
    """

    def __init__(self, labels: InstanceMasks) -> None:
        self._grid = CellGrid()
        self._class_ids = sorted(set(labels.class_ids.tolist()))
        for cell in cells_from(labels, Status.GIVEN, "labels", 0.0):
            self._grid.put(cell)

    def doubts(self, cell: Cell, class_names: Sequence[str]) -> list[Doubt]:
        """Return a doubt if the labels lack the cell (false positive) or give it another class."""
        found = [other for other in self.near(cell.box) if iou(cell, other) >= MATCH]
        if any(other.class_id == cell.class_id for other in found):
            return []
        if not found:
            return [Doubt(Reason.NOT_IN_LABELS, 0.95, "not in the labels")]
        name = class_names[found[0].class_id - 1] if found[0].class_id <= len(class_names) else "another class"
        return [Doubt(Reason.OTHER_IN_LABELS, 0.97, f"{name} in the labels")]

    def near(self, box: Box) -> list[Cell]:
        """Return the labels of all classes whose boxes touch ``box``."""
        return [cell for class_id in self._class_ids for cell in self._grid.near(class_id, box)]

    def label(self, label_id: int) -> Cell:
        """Return a cell of the labels by its id."""
        return self._grid.cells[label_id]

    def all(self) -> Iterable[Cell]:
        """Return all labels."""
        return self._grid.cells.values()

    @staticmethod
    def is_missed(label: Cell, near: Callable[[Box], Iterable[Cell]]) -> bool:
        """Return whether no cell that ``near`` returns, of any class, matches this one (false negative)."""
        return not any(iou(label, cell) >= MATCH for cell in near(label.box))

"""The labels on disk beside a review: which cells of it they do not have, and which of theirs it does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.cells import Box, Cell, Status
from napari_cellseg.review.conversion import cells_from
from napari_cellseg.review.doubts import Doubt, Reason, iou
from napari_cellseg.review.grid import CellGrid

__all__ = ["Truth"]

MATCH = 0.5
"""Two cells are the same from this intersection over union on; above it a cell can have one match only."""


class Truth:
    """Labels to compare with.

    Parameters
    ----------
    labels : InstanceMasks
        Of the same image.
    """

    def __init__(self, labels: InstanceMasks) -> None:
        self._grid = CellGrid()
        self._class_ids = sorted(set(labels.class_ids.tolist()))
        for cell in cells_from(labels, Status.ACCEPTED, "labels", 0.0):
            self._grid.put(cell)

    def doubts(self, cell: Cell, class_names: Sequence[str]) -> list[Doubt]:
        """Tell a cell that the labels do not have (false positive), or have as another class."""
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
        """Return a label by its number in `all`."""
        return self._grid.cells[label_id]

    def all(self) -> Iterable[Cell]:
        """Return all labels."""
        return self._grid.cells.values()

    @staticmethod
    def is_missed(label: Cell, near: Callable[[Box], Iterable[Cell]]) -> bool:
        """Whether no cell that ``near`` finds, of any class, is this one (false negative)."""
        return not any(iou(label, cell) >= MATCH for cell in near(label.box))

"""A cell under review."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.review.settlement import Settlement

__all__ = ["KEPT", "UNDECIDED", "BoolMask", "Box", "Cell", "Status", "check_cell", "overlap", "union_box"]

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in px, half-open."""

BoolMask = npt.NDArray[np.bool_]


class Status(Enum):
    """The user's decision about a cell; PROPOSED and GIVEN await one.

    A given cell comes from labels on disk: it is ground truth, but no one reviewed it here.
    """

    PROPOSED = "proposed"
    GIVEN = "given"
    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"


UNDECIDED = (Status.PROPOSED, Status.GIVEN)
"""The statuses of cells that no one has decided about."""

KEPT = (Status.ACCEPTED, Status.EDITED)
"""The statuses of cells that a reader found right, corrected or drew."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Cell:
    """One cell in its present state; immutable: a command replaces a `Cell`, it never changes one.

    Parameters
    ----------
    cell_id : int
        1 or more; stable for the life of the cell and never reused.
    class_id : int
        1..K.
    score : float
        0..1; 1 for a cell that the user drew.
    status : Status
        The user's decision.
    box : (x0, y0, x1, y1)
        px, half-open, tight around the mask.
    mask : (y1 - y0, x1 - x0) bool
        The crop; read-only.
    label_value : int
        Value in the class's label image on disk; 0 for a cell that is not on disk yet.
    by : str
        Name of the user, model or file that made or last changed the cell.
    at : float
        Time of that change, seconds since 1970 (UTC).
    note : str
        The user's note, one line; empty for none.
    unsure : bool
        Whether the user flagged the cell as unsure.
    settled : Settlement or None
        How a dispute with another reader about the cell was settled; None if there was none.
    """

    cell_id: int
    class_id: int
    score: float
    status: Status
    box: Box
    mask: BoolMask
    label_value: int = 0
    by: str = ""
    at: float = 0.0
    note: str = ""
    unsure: bool = False
    settled: Settlement | None = None
    _area: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.mask.setflags(write=False)

    @property
    def area(self) -> int:
        """Area of the mask, px; cached."""
        if not self._area:
            object.__setattr__(self, "_area", int(np.count_nonzero(self.mask)))
        return self._area

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box as (y, x), px."""
        x0, y0, x1, y1 = self.box
        return (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2

    @property
    def reviewed(self) -> bool:
        """Whether the user has decided about the cell."""
        return self.status not in UNDECIDED

    @property
    def is_kept(self) -> bool:
        """Whether the cell stays when a model proposes others: decided about, given, or with a note or flag."""
        return self.status is not Status.PROPOSED or self.is_flagged

    @property
    def is_flagged(self) -> bool:
        """Whether the cell has a note, or is flagged as unsure."""
        return self.unsure or bool(self.note)

    def covers(self, y: int, x: int) -> bool:
        """Return whether pixel (y, x) of the image belongs to the cell."""
        x0, y0, x1, y1 = self.box
        return y0 <= y < y1 and x0 <= x < x1 and bool(self.mask[y - y0, x - x0])

    def crop(self, box: Box) -> BoolMask:
        """Return the mask as seen through another box: (height, width) bool, False outside the cell."""
        seen = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
        shared = overlap(self.box, box)
        if shared is not None:
            _inside(seen, box, shared)[:] = _inside(self.mask, self.box, shared)
        return seen

    def equals(self, other: Cell) -> bool:
        """Return whether all fields are equal, the mask pixel by pixel."""
        names = ("cell_id", "class_id", "score", "status", "box", "label_value", "by", "at", "note", "unsure")
        if self.settled is not other.settled and (self.settled is None or not self.settled.equals(other.settled)):
            return False
        return all(getattr(self, name) == getattr(other, name) for name in names) and (
            self.mask is other.mask or np.array_equal(self.mask, other.mask)
        )


def check_cell(cell: Cell, image_size: tuple[int, int], classes: ClassTable) -> None:
    """Check that a cell fits the image and its class table.

    Raises
    ------
    AnnotationError
        The cell reaches beyond the image, or its class is not in the table.
    """
    x0, y0, x1, y1 = cell.box
    height, width = image_size
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height or cell.mask.shape != (y1 - y0, x1 - x0):
        raise AnnotationError(f"Cell #{cell.cell_id} with box {cell.box} reaches beyond the {height} x {width} image.")
    if cell.class_id not in classes.class_ids:
        raise AnnotationError(
            f"Cell #{cell.cell_id} has class {cell.class_id}, but there are {len(classes)} classes; "
            "add the class first."
        )


def overlap(first: Box, second: Box) -> Box | None:
    """Return the intersection of two boxes, None if they do not intersect."""
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1, y1 = min(first[2], second[2]), min(first[3], second[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def union_box(boxes: Iterable[Box]) -> Box:
    """Return the smallest box around one or more boxes."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _inside(array: BoolMask, box: Box, part: Box) -> BoolMask:
    return array[part[1] - box[1] : part[3] - box[1], part[0] - box[0] : part[2] - box[0]]

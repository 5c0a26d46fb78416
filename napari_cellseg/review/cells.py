"""A cell under review."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError

__all__ = ["BoolMask", "Box", "Cell", "Status", "check_cell", "overlap", "union_box"]

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in px, half-open."""

BoolMask = npt.NDArray[np.bool_]


class Status(Enum):
    """What a person has decided about a cell."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Cell:
    """One cell as it is now; a command never changes a `Cell`, it puts another one in its place.

    Parameters
    ----------
    cell_id : int
        1 or more; stable for the life of the cell, never used again for another one.
    class_id : int
        1..K.
    score : float
        0..1; 1 for a cell that a person drew.
    status : Status
        What a person decided.
    box : (x0, y0, x1, y1)
        px, half-open, tight around the mask.
    mask : (y1 - y0, x1 - x0) bool
        The crop; read-only.
    label_value : int
        Value in the class's label image on disk; 0 for a cell that has none yet.
    by : str
        Who made or last changed it: a person's name, a model's, or a file's.
    at : float
        When, in seconds since 1970 (UTC).
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
    _area: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.mask.setflags(write=False)

    @property
    def area(self) -> int:
        """Pixels of the mask; counted once."""
        if not self._area:
            object.__setattr__(self, "_area", int(np.count_nonzero(self.mask)))
        return self._area

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box as (y, x), px."""
        x0, y0, x1, y1 = self.box
        return (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2

    @property
    def reviewed(self) -> bool:
        """Whether a person has decided about it."""
        return self.status is not Status.PROPOSED

    def covers(self, y: int, x: int) -> bool:
        """Whether pixel (y, x) of the image belongs to the cell."""
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
        """Whether every field is the same, the mask to the pixel."""
        names = ("cell_id", "class_id", "score", "status", "box", "label_value", "by", "at")
        return all(getattr(self, name) == getattr(other, name) for name in names) and (
            self.mask is other.mask or np.array_equal(self.mask, other.mask)
        )


def check_cell(cell: Cell, image_size: tuple[int, int], classes: ClassTable) -> None:
    """Refuse a cell that an image cannot have.

    Raises
    ------
    AnnotationError
        It leaves the image, or its class is not in the table.
    """
    x0, y0, x1, y1 = cell.box
    height, width = image_size
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height or cell.mask.shape != (y1 - y0, x1 - x0):
        raise AnnotationError(f"Cell #{cell.cell_id} with box {cell.box} leaves the {height} x {width} image.")
    if cell.class_id not in classes.class_ids:
        raise AnnotationError(
            f"Cell #{cell.cell_id} has class {cell.class_id}, but there are {len(classes)} classes; "
            "add the class first."
        )


def overlap(first: Box, second: Box) -> Box | None:
    """Return the rectangle two boxes share, None when they share none."""
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1, y1 = min(first[2], second[2]), min(first[3], second[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def union_box(boxes: Iterable[Box]) -> Box:
    """Return the smallest box around one or more boxes."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _inside(array: BoolMask, box: Box, part: Box) -> BoolMask:
    return array[part[1] - box[1] : part[3] - box[1], part[0] - box[0] : part[2] - box[0]]

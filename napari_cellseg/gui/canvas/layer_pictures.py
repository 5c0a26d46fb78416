"""The picture of a class of cells, painted a band at a time: of a large image it takes half a second."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from napari_cellseg.gui.canvas.colours import ColourMode, Looks, painted
from napari_cellseg.review import Box, Cell, Change, ReviewSession

__all__ = ["ClassPainter", "ClassPicture", "stale_boxes"]

_MANY_BOXES = 200
"""From so many touched cells on, one large box is cheaper than many small ones."""

_BAND_PX = 2**19
"""Pixels of a band: some 10 ms."""
_STEP_S = 0.03
"""The longest time of one step in the window's thread."""


@dataclass(frozen=True)
class ClassPicture:
    """What a class layer shows.

    Parameters
    ----------
    labels : (H, W) int32
        cell_ids, 0 is background.
    shown : (H, W) uint8
        Palette bytes, as `colours.painted` makes them.
    """

    labels: npt.NDArray[np.int32]
    shown: npt.NDArray[np.uint8]

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Self:
        """Make the picture, (height, width), of no cell."""
        return cls(np.zeros(size, np.int32), np.zeros(size, np.uint8))


class ClassPainter:
    """Paints the picture of one class after another, in steps that the window does not feel.

    Attributes
    ----------
    picture : ClassPicture or None
        The one that is finished; None while it is being painted.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._steps: Generator[None, None, ClassPicture] | None = None
        self.picture: ClassPicture | None = None

    def paint_some(self, session: ReviewSession, class_id: int, contour: int) -> None:
        """Start a label image, or continue the current one."""
        if self._steps is None:
            self._steps = paint_class(session, class_id, self._looks, contour)
        end = time.perf_counter() + _STEP_S
        while time.perf_counter() < end:
            try:
                next(self._steps)
            except StopIteration as finished:
                self.picture, self._steps = finished.value, None
                return

    def forget(self) -> None:
        """Start the next label image from scratch: the cells changed, or this one is in use."""
        self.picture = self._steps = None


def paint_class(
    session: ReviewSession, class_id: int, looks: Looks, contour: int
) -> Generator[None, None, ClassPicture]:
    """Paint all cells shown of a class; the session must not change meanwhile, else begin again."""
    height, width = session.image_size
    labels, shown = np.zeros((height, width), np.int32), np.zeros((height, width), np.uint8)
    rows = max(_BAND_PX // max(width, 1), 1)
    bands = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    for top, bottom in bands:
        yield
        labels[top:bottom] = session.view(class_id, (0, top, width, bottom))
    for top, bottom in bands:
        yield
        shown[top:bottom] = painted(labels, looks.fills, contour, (slice(top, bottom), slice(0, width)))
    return ClassPicture(labels, shown)


def stale_boxes(change: Change, cells: Sequence[Cell], mode: ColourMode) -> dict[int, list[Box]]:
    """Return where each layer must be written after a change: around each cell when they are few, else around all.

    Parameters
    ----------
    change : Change
    cells : sequence of Cell
        The changed cells as they are now.
    mode : ColourMode
        What the colours tell.
    """
    if len(change.cell_ids) > _MANY_BOXES or not change.cell_ids:
        return {class_id: [box] for class_id, box in change.boxes.items()}
    boxes: dict[int, dict[Box, None]] = {}
    for cell in (*cells, *(cell for pair in change.pairs for cell in pair if cell is not None)):
        if cell.class_id in change.boxes or mode is ColourMode.STATUS:
            boxes.setdefault(cell.class_id, {})[cell.box] = None
    return {class_id: list(found) for class_id, found in boxes.items()}

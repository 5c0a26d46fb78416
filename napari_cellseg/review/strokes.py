"""A brush, fill, polygon or eraser stroke on the view of a class, as changes of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_cellseg.review.cells import BoolMask, Box, Cell, overlap, union_box
from napari_cellseg.review.edits import Placed, tightened

__all__ = ["Stroke", "read_stroke"]


@dataclass(frozen=True)
class Stroke:
    """The effect of a stroke: reshaped cells, emptied cells, and new cells in ascending order of the painted value.

    ``erases`` is true if only background was painted.
    """

    reshaped: tuple[tuple[Cell, Placed], ...]
    emptied: tuple[Cell, ...]
    drawn: tuple[Placed, ...]
    erases: bool = False


def read_stroke(
    visible: Sequence[Cell], box: Box, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer]
) -> Stroke:
    """Compare two crops of a class's view, so that the new view shows exactly what was painted.

    Only pixels that differ count. There, the cell whose id was painted gains the pixel and every other visible cell of
    the class loses it, including cells below the top one: a label image shows one cell per pixel, and an erased pixel
    must not reveal the cell beneath. A value that is no visible cell of the class becomes a new cell.

    Parameters
    ----------
    visible : cells
        The visible cells of the class whose boxes touch ``box``.
    box : (x0, y0, x1, y1)
        Region of the crops, px.
    before, after : (y1 - y0, x1 - x0) int
        cell_ids as shown before and after the stroke; 0 is background.
    """
    changed = before != after
    painted = set(np.unique(after[changed]).tolist()) - {0}
    reshaped: list[tuple[Cell, Placed]] = []
    emptied: list[Cell] = []
    for cell in sorted(visible, key=lambda cell: cell.cell_id):
        gained = changed & (after == cell.cell_id) if cell.cell_id in painted else None
        placed = _reshape(cell, box, changed, after, gained)
        if placed is None:
            emptied.append(cell)
        elif placed[0] != cell.box or not (placed[1] is cell.mask or np.array_equal(placed[1], cell.mask)):
            reshaped.append((cell, placed))
    unknown = sorted(painted - {cell.cell_id for cell in visible})
    drawn = [tightened(box, changed & (after == value)) for value in unknown if value > 0]
    new = tuple(placed for placed in drawn if placed is not None)
    return Stroke(tuple(reshaped), tuple(emptied), new, erases=not painted)


def _reshape(
    cell: Cell, box: Box, changed: BoolMask, after: npt.NDArray[np.integer], gained: BoolMask | None
) -> Placed | None:
    """Return a cell's crop after a stroke; reads only the overlap of cell and stroke, and the pixels gained."""
    shared = overlap(cell.box, box)
    rows, columns = _window(box, shared) if shared is not None else (slice(0), slice(0))
    lost = changed[rows, columns] & (after[rows, columns] != cell.cell_id)
    if shared is not None:
        lost &= cell.mask[_window(cell.box, shared)]
    if gained is None and not lost.any():
        return cell.box, cell.mask
    whole = cell.box if gained is None else union_box((cell.box, box))
    mask = cell.crop(whole)
    if gained is not None:
        mask[_window(whole, box)] |= gained
    if shared is not None:
        mask[_window(whole, shared)] &= ~lost
    return tightened(whole, mask)


def _window(box: Box, part: Box) -> tuple[slice, slice]:
    """Return the rows and columns of ``part`` in an array that covers ``box``."""
    return slice(part[1] - box[1], part[3] - box[1]), slice(part[0] - box[0], part[2] - box[0])

"""A brush, fill, polygon or eraser stroke on a class's label view, as changes of cells."""

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
    """What a stroke asks for: cells with other pixels, cells without any, and new cells by rising value painted."""

    reshaped: tuple[tuple[Cell, Placed], ...]
    emptied: tuple[Cell, ...]
    drawn: tuple[Placed, ...]


def read_stroke(
    visible: Sequence[Cell], box: Box, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer]
) -> Stroke:
    """Compare two crops of a class's view, so that what was painted is what will be seen.

    Only pixels that differ count. There, the cell whose id was painted gains the pixel and every other visible cell of
    the class loses it, one hidden below the top one too: a label image shows one cell a pixel, and a pixel erased must
    not show the cell beneath. A value that is no visible cell of the class becomes a new cell.

    Parameters
    ----------
    visible : cells
        Those of the class that are shown and whose boxes touch ``box``.
    box : (x0, y0, x1, y1)
        Where the crops lie, px.
    before, after : (y1 - y0, x1 - x0) int
        cell_ids as shown before and after the stroke; 0 is background.
    """
    changed = before != after
    by_id = {cell.cell_id: cell for cell in visible}
    reshaped: list[tuple[Cell, Placed]] = []
    emptied: list[Cell] = []
    for cell in sorted(visible, key=lambda cell: cell.cell_id):
        gained = changed & (after == cell.cell_id)
        lost = cell.crop(box) & changed & ~gained
        if not gained.any() and not lost.any():
            continue
        placed = _reshape(cell, box, gained, lost)
        if placed is None:
            emptied.append(cell)
        elif placed[0] != cell.box or not np.array_equal(placed[1], cell.mask):
            reshaped.append((cell, placed))
    drawn: list[Placed] = []
    for value in np.unique(after[changed]).tolist():
        if value > 0 and value not in by_id:
            placed = tightened(box, changed & (after == value))
            if placed is not None:
                drawn.append(placed)
    return Stroke(tuple(reshaped), tuple(emptied), tuple(drawn))


def _reshape(cell: Cell, box: Box, gained: BoolMask, lost: BoolMask) -> Placed | None:
    whole = union_box((cell.box, box)) if gained.any() else cell.box
    mask = cell.crop(whole)
    shared = overlap(whole, box)
    if shared is None:
        return cell.box, cell.mask
    part = mask[shared[1] - whole[1] : shared[3] - whole[1], shared[0] - whole[0] : shared[2] - whole[0]]
    window = slice(shared[1] - box[1], shared[3] - box[1]), slice(shared[0] - box[0], shared[2] - box[0])
    part[gained[window]] = True
    part[lost[window]] = False
    return tightened(whole, mask)

"""Cells that a prediction holds below the minimum score: at a place, and as a new cell that the user adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_cellseg.errors import AnnotationError
from napari_cellseg.review.cells import BoolMask, Box, Cell, Status, overlap
from napari_cellseg.review.commands import Author, Command
from napari_cellseg.review.edits import Placed, largest_piece, tightened
from napari_cellseg.review.history import Change
from napari_cellseg.review.session import ReviewSession
from napari_cellseg.wording import counted, listed

__all__ = ["FreePart", "add_missed", "free_part", "hidden_at", "left_out_text"]

_DECIDED = (Status.ACCEPTED, Status.EDITED, Status.GIVEN)
_SAME = 0.5
"""A hidden proposal that shares this much of the smaller area with an added cell is that cell."""


def hidden_at(session: ReviewSession, y: int, x: int) -> list[Cell]:
    """Return the proposed cells at a pixel that are below their minimum score, best score first."""
    found = [cell for cell in _hidden(session, (x, y, x + 1, y + 1)) if cell.covers(y, x)]
    return sorted(found, key=lambda cell: -cell.score)


@dataclass(frozen=True)
class FreePart:
    """The part of a new cell that no decided cell has.

    Attributes
    ----------
    placed : (box, mask) or None
        The largest piece of it, in its tight box; None if nothing is left.
    left_out : int
        Pixels of the new cell that are not in it.
    owners : tuple of int
        The decided cells that have pixels of the new cell, by id.
    """

    placed: Placed | None
    left_out: int
    owners: tuple[int, ...]


def free_part(session: ReviewSession, box: Box, mask: BoolMask) -> FreePart:
    """Take the pixels of accepted, edited and given cells out of a new cell."""
    free, owners = np.asarray(mask, bool), []
    for cell in sorted(session.cells.values(), key=lambda cell: cell.cell_id):
        if cell.status in _DECIDED and overlap(cell.box, box) is not None:
            taken = cell.crop(box) & free
            if taken.any():
                free = free & ~taken
                owners.append(cell.cell_id)
    if owners:
        free = largest_piece(free)
    left_out = int(np.count_nonzero(mask)) - int(np.count_nonzero(free))
    return FreePart(tightened(box, free), left_out, tuple(owners))


def left_out_text(part: FreePart) -> str:
    """Return which pixels of a new cell are left out, and why; empty if none are."""
    if not part.owners:
        return ""
    names = listed([f"#{cell_id}" for cell_id in part.owners])
    if part.placed is None:
        return f"All its pixels belong to {names}"
    return f"{counted(part.left_out, 'px', 'px')} at {names} left out"


def add_missed(session: ReviewSession, class_id: int, box: Box, mask: BoolMask) -> Change:
    """Add a cell, and remove the hidden proposals of the same cell, as one command.

    The new cell takes no pixel of an accepted, edited or given cell, see `free_part`.

    Raises
    ------
    AnnotationError
        The mask is empty, reaches beyond the image or has only pixels of such cells, or the class is unknown.
    """
    new_id, part = session.next_id, free_part(session, box, mask)
    if part.placed is None and part.owners:
        names = listed([f"#{cell_id}" for cell_id in part.owners])
        raise AnnotationError(
            f"Nothing is added: all pixels of the new cell belong to {names}. Edit that cell, or undo."
        )
    placed = part.placed
    if placed is None:
        return session.add(class_id, box, mask)  # says why not
    same = [cell.cell_id for cell in _hidden(session, placed[0]) if _shares(cell, *placed)]

    def command(author: Author, hidden: Sequence[Cell]) -> Command:
        new = author.drawn(new_id, class_id, placed)
        return f"add #{new_id}", [(None, new), *((cell, None) for cell in hidden)]

    return session.do(command, same)


def _hidden(session: ReviewSession, box: Box) -> Iterator[Cell]:
    for cell in session.cells.values():
        if cell.status is Status.PROPOSED and overlap(cell.box, box) is not None and not session.is_visible(cell):
            yield cell


def _shares(cell: Cell, box: Box, mask: BoolMask) -> bool:
    shared = int(np.count_nonzero(cell.crop(box) & mask))
    return shared > _SAME * min(cell.area, int(np.count_nonzero(mask)))

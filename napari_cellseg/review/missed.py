"""Cells that a prediction holds below the minimum score: at a place, and as a new cell that the user adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from napari_cellseg.review.cells import BoolMask, Box, Cell, Status, overlap
from napari_cellseg.review.commands import Author, Command
from napari_cellseg.review.edits import tightened
from napari_cellseg.review.history import Change
from napari_cellseg.review.session import ReviewSession

__all__ = ["add_missed", "hidden_at"]

_SAME = 0.5
"""A hidden proposal that shares this much of the smaller area with an added cell is that cell."""


def hidden_at(session: ReviewSession, y: int, x: int) -> list[Cell]:
    """Return the proposed cells at a pixel that are below their minimum score, best score first."""
    found = [cell for cell in _hidden(session, (x, y, x + 1, y + 1)) if cell.covers(y, x)]
    return sorted(found, key=lambda cell: -cell.score)


def add_missed(session: ReviewSession, class_id: int, box: Box, mask: BoolMask) -> Change:
    """Add a cell, and remove the hidden proposals of the same cell, as one command.

    Raises
    ------
    AnnotationError
        The mask is empty or reaches beyond the image, or the class is unknown.
    """
    new_id = session.next_id
    placed = tightened(box, np.asarray(mask, bool))
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

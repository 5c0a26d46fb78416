"""`NextCell`: which cell follows a decision, also when the decided cell was corrected or drawn on the way."""

from __future__ import annotations

from collections.abc import Collection

from napari_cellseg.gui.review.queue_walk import QueueWalk
from napari_cellseg.review.queue import QueueItem

__all__ = ["NextCell"]

_KEPT = 5
"""Items kept after the present one: a merge may take in the next."""


class NextCell:
    """Remembers the place in the queue at which the user is.

    A correction changes the doubt about a cell, and with it the position of the cell in the queue; a drawn cell has a
    position far behind. The user continues where the correction interrupted the queue.
    """

    def __init__(self, queue: QueueWalk) -> None:
        self._queue = queue
        self._here: int | None = None
        self._following: tuple[int, ...] = ()

    def arrive(self, item: QueueItem | None) -> None:
        """Remember an item of the queue as the present place."""
        self._here = None if item is None else item.cell_id
        self._following = () if item is None else self._queue.following(item.cell_id, _KEPT)

    def leave(self, cell_id: int) -> None:
        """Make an undecided cell, such as one that the user clicked, the present place before it is decided."""
        if cell_id != self._here:
            self._here, self._following = cell_id, self._queue.following(cell_id, _KEPT)

    def after(self, decided: Collection[int]) -> QueueItem | None:
        """Return the item to go to once some cells are decided."""
        places = (i for i in (self._here, *self._following) if i not in decided)
        return self._queue.waiting(places) or self._queue.next(self._here)

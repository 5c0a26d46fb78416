"""The items of the review queue, what it holds, and what comes first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from napari_cellseg.review.cells import KEPT, UNDECIDED, Box, Cell, Status
from napari_cellseg.review.doubts import Doubt, Reason

__all__ = ["QueueContent", "QueueItem", "QueueOrder", "item_of"]


class QueueOrder(Enum):
    """What comes first."""

    WORST = "worst first"
    LOWEST_SCORE = "lowest score"
    SMALLEST = "smallest"
    LARGEST = "largest"
    POSITION = "top to bottom"
    LEARNED = "what you change"


class QueueContent(Enum):
    """Which cells await a decision; the value is the text to display."""

    PROPOSED = "proposed cells"
    GIVEN = "given labels"
    ALL = "proposed and given"
    FLAGGED = "flagged cells"
    DISPUTED = "disputed cells"

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The statuses of these cells."""
        shown = tuple(status for status in Status if status is not Status.REJECTED)
        return {
            QueueContent.PROPOSED: (Status.PROPOSED,),
            QueueContent.GIVEN: (Status.GIVEN,),
            QueueContent.FLAGGED: shown,
            QueueContent.DISPUTED: KEPT,
        }.get(self, UNDECIDED)

    @property
    def is_flagged(self) -> bool:
        """Whether these are only the cells with a note or flag, decided or not."""
        return self is QueueContent.FLAGGED

    @property
    def is_disputed(self) -> bool:
        """Whether these are only the cells on which another reader differs."""
        return self is QueueContent.DISPUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """A cell to review, or one that only the labels on disk, or another reader, have; ``cell_id`` is then negative.

    ``doubt`` is 0..1, ``reason`` the main reason, ``text`` describes one or two reasons; empty if there is none.
    """

    cell_id: int
    class_id: int
    score: float
    box: Box
    doubt: float
    reason: Reason
    text: str
    area: int

    @property
    def is_missed(self) -> bool:
        """Whether only the labels on disk, or another reader, have the cell."""
        return self.cell_id < 0


def item_of(cell: Cell, item_id: int, doubts: Sequence[Doubt]) -> QueueItem:
    """Combine the doubts as independent probabilities of an error; the text gives the two largest."""
    right = math.prod(1 - min(doubt.value, 0.99) for doubt in doubts)
    worst = sorted((doubt for doubt in doubts if doubt.text), key=lambda doubt: -doubt.value)
    return QueueItem(
        cell_id=item_id,
        class_id=cell.class_id,
        score=cell.score,
        box=cell.box,
        doubt=1 - right,
        reason=worst[0].reason if worst else Reason.NONE,
        text=", ".join([*_flags(cell), *(doubt.text for doubt in worst[:2])]),
        area=cell.area,
    )


def _flags(cell: Cell) -> list[str]:
    note = [f"\u201c{cell.note}\u201d"] if cell.note else []
    return ["unsure", *note] if cell.unsure else note

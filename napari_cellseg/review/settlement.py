"""`Settlement`: how a disagreement with another reader about a cell was settled, by whom and when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cellseg.review.cells import Cell

__all__ = ["DisputeKind", "Outcome", "Settlement", "is_settled"]


class DisputeKind(Enum):
    """On what two readers differ; the value stands in the annotations file."""

    CLASS = "class"
    OUTLINE = "outline"
    ONLY_MINE = "only mine"
    ONLY_OTHER = "only other"


class Outcome(Enum):
    """How a dispute ended, seen from the project that has the settlement; the value stands in its annotations file."""

    MINE = "mine kept"
    OTHER = "other taken"
    CLASS = "class changed"
    REJECTED = "both rejected"
    OUTLINE = "outline corrected"


@dataclass(frozen=True, eq=False, kw_only=True)
class Settlement:
    """A settled dispute; it is a part of the cell that came out of it, or of the cell that was rejected.

    Attributes
    ----------
    reader : str
        Name of the other reader.
    kind : DisputeKind
    outcome : Outcome
    by : str
        The user who settled the dispute.
    at : float
        When, seconds since 1970 (UTC).
    other_class : int
        class_id of the other reader's cell; 0 if that reader had none.
    before : Cell or None
        The cell as it was before; None if there was none. It is not settled itself.
    """

    reader: str
    kind: DisputeKind
    outcome: Outcome
    by: str
    at: float
    other_class: int = 0
    before: Cell | None = None

    def equals(self, other: Settlement | None) -> bool:
        """Return whether all fields are equal, the mask of ``before`` pixel by pixel."""
        if other is None:
            return False
        names = ("reader", "kind", "outcome", "by", "at", "other_class")
        if self.before is None or other.before is None:
            same = self.before is other.before
        else:
            same = self.before.equals(other.before)
        return same and all(getattr(self, name) == getattr(other, name) for name in names)


def is_settled(cell: Cell | None, against: Cell | None, names: Collection[str]) -> bool:
    """Return whether a dispute is settled on the side of ``cell``.

    Parameters
    ----------
    cell : Cell or None
        The cell of one reader, rejected ones too.
    against : Cell or None
        The other reader's cell; a decision about it that is later than the settlement opens the dispute again.
    names : collection of str
        The names that the other reader goes by.
    """
    if cell is None or cell.settled is None or cell.settled.reader not in names:
        return False
    return against is None or against.at <= cell.settled.at

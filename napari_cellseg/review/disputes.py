"""`Disputes`: where a review differs from the one of another reader of the same image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from napari_cellseg.review.cells import KEPT, Box, Cell, Status
from napari_cellseg.review.doubts import iou
from napari_cellseg.review.filters import CellFilter
from napari_cellseg.review.grid import CellGrid
from napari_cellseg.review.session import ReviewSession
from napari_cellseg.review.settlement import DisputeKind, is_settled

__all__ = ["SAME_MASK", "Dispute", "Disputes", "OtherReader"]

MATCH = 0.5
"""Cells with a higher intersection over union match."""
SAME_MASK = 0.7
"""Matched masks with a lower intersection over union differ."""

Near = Callable[[Box], Iterable[Cell]]


@dataclass(frozen=True, eq=False, kw_only=True)
class OtherReader:
    """What another reader says about an image.

    Attributes
    ----------
    name : str
    names : frozenset of str
        All names that settlements with this reader may have.
    own_names : frozenset of str
        All names that settlements of this reader with the user may have.
    cells : tuple of Cell
        The reader's cells: the visible ones, and the rejected ones.
    """

    name: str
    names: frozenset[str]
    own_names: frozenset[str]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dispute:
    """A cell on which two readers differ.

    Attributes
    ----------
    kind : DisputeKind
    mine : Cell or None
        The cell of the review; a rejected one, or None, if only the other reader has the cell.
    other : Cell or None
        The cell of the other reader; a rejected one, or None, if only the review has the cell.
    iou : float
        Of two cells that match, else 0.
    is_changed : bool
        Whether the review was changed since, so that the readers may agree now; the decision about it is still to come.
    """

    kind: DisputeKind
    mine: Cell | None
    other: Cell | None
    iou: float = 0.0
    is_changed: bool = False

    def text(self, reader: str, class_names: Sequence[str]) -> str:
        """Say on what the readers differ: "ana: inflammatory", "outline differs (IoU 0.61)", "only you", "only ana"."""
        if self.is_changed:
            return f"changed; {reader} had {self._name(self.other, class_names)}"
        if self.kind is DisputeKind.ONLY_MINE:
            return f"only you; {reader} rejected it" if self.other is not None else "only you"
        if self.kind is DisputeKind.ONLY_OTHER:
            return f"only {reader}; you rejected it" if self.mine is not None else f"only {reader}"
        outline = f"outline differs (IoU {self.iou:.2f})" if self.iou < SAME_MASK else ""
        other = f"{reader}: {self._name(self.other, class_names)}" if self.kind is DisputeKind.CLASS else ""
        return ", ".join(filter(None, (other, outline)))

    @staticmethod
    def _name(cell: Cell | None, class_names: Sequence[str]) -> str:
        return "no cell" if cell is None or cell.status is Status.REJECTED else class_names[cell.class_id - 1]


class Disputes:
    """The disputes of a review with another reader; a cell about which one of them has not decided is none.

    Cells match as in `report.agreement`: by the highest intersection over union, whatever their class.

    Parameters
    ----------
    session : ReviewSession
    reader : OtherReader
        With the classes and the image size of the session.
    """

    def __init__(self, session: ReviewSession, reader: OtherReader) -> None:
        self._session, self.reader = session, reader
        self._kept, self._others = CellGrid(), CellGrid()
        for cell in reader.cells:
            (self._kept if cell.status in KEPT else self._others).put(cell)
        self._class_ids = sorted({cell.class_id for cell in reader.cells})
        self._latest = max((cell.at for cell in reader.cells), default=0.0)
        self._at_start = dict(session.cells)
        self._first: dict[int, Dispute | None] = {}

    def item_ids(self) -> list[int]:
        """Return the ids of all cells that may be in dispute: of the review, and negative ones of the other reader."""
        mine = [cell.cell_id for cell in self._session.cells.values() if cell.status in KEPT]
        return [*mine, *(-cell_id for cell_id in self._kept.cells)]

    def other(self, item_id: int) -> Cell:
        """Return the cell of the other reader of a negative id."""
        return self._kept.cells[-item_id]

    def get(self, item_id: int) -> Dispute | None:
        """Return the open dispute about a cell of the review, or (negative id) of the other reader; None if none."""
        found = self.any(item_id)
        return None if found is None or self._is_settled(found) else found

    def any(self, item_id: int) -> Dispute | None:
        """Return the dispute about a cell, settled or not."""
        if item_id < 0:
            found = self._of_other(self._kept.cells[-item_id])
        else:
            cell = self._session.cells.get(item_id)
            found = None if cell is None or cell.status not in KEPT else self._of_mine(cell)
        self._first.setdefault(item_id, found)
        return found

    def before(self, cell: Cell) -> Cell | None:
        """Return a cell of the review as it was before the disputes about it were settled; None if it was not there."""
        settled, start = cell.settled, self._at_start.get(cell.cell_id)
        if settled is not None and settled.reader in self.reader.names:
            return settled.before
        return start if start is None or start.reviewed else cell

    def affected(self, box: Box) -> set[int]:
        """Return the ids of the cells whose dispute may change with a cell in ``box``."""
        boxes = [cell.box for cell in (*self._near_mine(box), *self._near_kept(box))]
        found: set[int] = set()
        for near in {box, *boxes}:
            found.update(cell.cell_id for cell in self._near_mine(near))
            found.update(-cell.cell_id for cell in self._near_kept(near))
        return found

    @property
    def settled(self) -> int:
        """The number of cells of the review whose dispute with this reader is settled, and not opened again."""
        return sum(map(self._stands, self._session.cells.values()))

    # ---- how ----

    def _stands(self, cell: Cell) -> bool:
        if cell.settled is None or cell.settled.reader not in self.reader.names:
            return False
        if cell.settled.at >= self._latest:
            return True
        if cell.status in KEPT:
            other = _partner(cell, self._near_mine, self._near_kept)[0]
        else:
            other = _partner(cell, self._near_unkept, self._near_lone_kept)[0]
        return is_settled(cell, other, self.reader.names)

    def _is_settled(self, dispute: Dispute) -> bool:
        mine, other = dispute.mine, dispute.other
        return is_settled(mine, other, self.reader.names) or is_settled(other, mine, self.reader.own_names)

    def _of_mine(self, cell: Cell) -> Dispute | None:
        partner, shared = _partner(cell, self._near_mine, self._near_kept)
        if partner is not None:
            if partner.class_id != cell.class_id:
                return Dispute(kind=DisputeKind.CLASS, mine=cell, other=partner, iou=shared)
            if shared < SAME_MASK:
                return Dispute(kind=DisputeKind.OUTLINE, mine=cell, other=partner, iou=shared)
            return self._of_changed(cell, partner, shared)
        counterpart, _ = _partner(cell, self._near_lone_mine, self._near_others)
        if counterpart is not None and not counterpart.reviewed:
            return None
        return Dispute(kind=DisputeKind.ONLY_MINE, mine=cell, other=counterpart)

    def _of_changed(self, cell: Cell, partner: Cell, shared: float) -> Dispute | None:
        """Return the dispute that the user resolved by a change, such as a stroke, without a decision."""
        start = self._at_start.get(cell.cell_id)
        first = self._first.get(-partner.cell_id if start is None else cell.cell_id)
        if first is None or (start is not None and start.mask is cell.mask and start.class_id == cell.class_id):
            return None
        return Dispute(kind=first.kind, mine=cell, other=partner, iou=shared, is_changed=True)

    def _of_other(self, cell: Cell) -> Dispute | None:
        partner, _ = _partner(cell, self._near_kept, self._near_mine, opposite_first=True)
        if partner is not None:
            return None
        counterpart, _ = _partner(cell, self._near_lone_kept, self._near_unkept)
        if counterpart is not None and not counterpart.reviewed:
            return None
        return Dispute(kind=DisputeKind.ONLY_OTHER, mine=counterpart, other=cell)

    # ---- neighbours ----

    def _near_shown(self, box: Box) -> list[Cell]:
        return [cell for class_id in self._session.classes.class_ids for cell in self._session.near(class_id, box)]

    def _near_mine(self, box: Box) -> list[Cell]:
        return [cell for cell in self._near_shown(box) if cell.status in KEPT]

    def _near_unkept(self, box: Box) -> list[Cell]:
        rejected = self._session.find(CellFilter(statuses=(Status.REJECTED,), box=box))
        return [
            *(cell for cell in self._near_shown(box) if not cell.reviewed),
            *(self._session.cells[i] for i in rejected),
        ]

    def _near_kept(self, box: Box) -> list[Cell]:
        return [cell for class_id in self._class_ids for cell in self._kept.near(class_id, box)]

    def _near_others(self, box: Box) -> list[Cell]:
        return [cell for class_id in self._class_ids for cell in self._others.near(class_id, box)]

    def _near_lone_mine(self, box: Box) -> list[Cell]:
        return [c for c in self._near_mine(box) if _partner(c, self._near_mine, self._near_kept)[0] is None]

    def _near_lone_kept(self, box: Box) -> list[Cell]:
        near = self._near_kept(box)
        return [c for c in near if _partner(c, self._near_kept, self._near_mine, opposite_first=True)[0] is None]


def _partner(
    cell: Cell, near_own: Near, near_opposite: Near, *, opposite_first: bool = False
) -> tuple[Cell | None, float]:
    """Return the cell of the other side that matches a cell, and their intersection over union.

    As in `training.metrics.Overlaps.matches`: the pair with the highest intersection over union comes first, then one
    of equal class, then the order of the ids, those of the other side first if ``opposite_first``. Only the cells that
    are linked to this one by pairs above `MATCH` can change its match.
    """
    todo, seen = [(cell, True)], {(cell.cell_id, True)}
    pairs: dict[tuple[int, int], tuple[float, bool, int, int]] = {}
    partners: dict[int, Cell] = {}
    while todo:
        here, is_own = todo.pop()
        for there in near_opposite(here.box) if is_own else near_own(here.box):
            shared = iou(here, there)
            if shared <= MATCH:
                continue
            own, opposite = (here, there) if is_own else (there, here)
            ids = (opposite.cell_id, own.cell_id) if opposite_first else (own.cell_id, opposite.cell_id)
            pairs[own.cell_id, opposite.cell_id] = (-shared, own.class_id != opposite.class_id, *ids)
            partners[opposite.cell_id] = opposite
            if (there.cell_id, not is_own) not in seen:
                seen.add((there.cell_id, not is_own))
                todo.append((there, not is_own))
    taken_own: set[int] = set()
    taken_opposite: set[int] = set()
    for own_id, opposite_id in sorted(pairs, key=pairs.__getitem__):
        if own_id not in taken_own and opposite_id not in taken_opposite:
            if own_id == cell.cell_id:
                return partners[opposite_id], -pairs[own_id, opposite_id][0]
            taken_own.add(own_id)
            taken_opposite.add(opposite_id)
    return None, 0.0

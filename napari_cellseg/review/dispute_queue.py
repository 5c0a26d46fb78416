"""`DisputeQueue`: a review queue of only the cells on which two readers differ."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from napari_cellseg.review.cells import Cell
from napari_cellseg.review.disputes import Dispute, Disputes
from napari_cellseg.review.doubts import Doubt, Reason
from napari_cellseg.review.history import Change
from napari_cellseg.review.learning import Learner
from napari_cellseg.review.queue import ReviewQueue
from napari_cellseg.review.queue_items import QueueContent, QueueOrder, item_of
from napari_cellseg.review.session import ReviewSession
from napari_cellseg.review.settlement import DisputeKind

__all__ = ["DisputeQueue"]

_DOUBTS = {
    DisputeKind.CLASS: 0.9,
    DisputeKind.ONLY_OTHER: 0.8,
    DisputeKind.ONLY_MINE: 0.7,
    DisputeKind.OUTLINE: 0.5,
}


class DisputeQueue(ReviewQueue):
    """The open disputes; a cell that only the other reader has is an item with a negative id.

    Parameters
    ----------
    session : ReviewSession
    disputes : Disputes
    order : QueueOrder
    learner : Learner, optional
        Learns from decisions here too, but does not order the disputes.
    """

    def __init__(
        self,
        session: ReviewSession,
        disputes: Disputes,
        order: QueueOrder = QueueOrder.WORST,
        learner: Learner | None = None,
    ) -> None:
        super().__init__(session, order=order)
        self.disputes = disputes
        self.content = QueueContent.DISPUTED
        self._pupil = learner

    @property
    def item_ids(self) -> Collection[int]:
        """The ids of all open disputes; empty until all cells are assessed."""
        return self._keys.keys() if self.is_ready else ()

    def awaits(self, cell_id: int) -> bool:
        """Return whether a cell of the session is in dispute."""
        return cell_id in self._items

    def label(self, item_id: int) -> Cell | None:
        """Return the cell of the other reader of an item with a negative id."""
        return self.disputes.other(item_id) if item_id < 0 else None

    def dispute(self, item_id: int) -> Dispute | None:
        """Return the open dispute of an item."""
        return self.disputes.get(item_id)

    def _steps(self) -> list[Callable[[], object]]:
        return [partial(self._assess, item_id) for item_id in self.disputes.item_ids()]

    def _assess(self, item_id: int) -> None:
        dispute = self.disputes.get(item_id)
        cell = None if dispute is None else dispute.other if item_id < 0 else dispute.mine
        if dispute is None or cell is None:
            self._items.pop(item_id, None)
            return
        text = dispute.text(self.disputes.reader.name, self._session.classes.names)
        self._items[item_id] = item_of(cell, item_id, [Doubt(Reason.DISPUTED, _DOUBTS[dispute.kind], text)])

    def _touched_by(self, change: Change) -> set[int]:
        cells = self._session.cells
        boxes = {cell.box for pair in change.pairs for cell in pair if cell is not None}
        boxes |= {cells[i].box for i in change.cell_ids if i in cells}  # a minimum score shows or hides cells
        return set(change.cell_ids).union(*map(self.disputes.affected, boxes))

    def _on_change(self, change: Change) -> None:
        if self._pupil is not None:
            self._pupil.follow(change)
        super()._on_change(change)

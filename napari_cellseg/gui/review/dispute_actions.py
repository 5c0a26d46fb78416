"""`DISPUTE_ACTIONS`: the rows of `action_table` for cells on which another reader differs."""

from __future__ import annotations

from napari_cellseg.gui.review import needs
from napari_cellseg.gui.review.action import Place, ReviewAction
from napari_cellseg.gui.review.actions import ReviewActions

__all__ = ["DISPUTE_ACTIONS"]

DISPUTE_ACTIONS: tuple[ReviewAction, ...] = (
    ReviewAction(
        id="take",
        text="Take theirs",
        tip="Take what the other reader decided about the disputed cell: class and outline, or its rejection",
        keys=("W",),
        place=Place.DISPUTE,
        needs=needs.a_dispute,
        run=ReviewActions.take,
        now=needs.take_now,
    ),
)

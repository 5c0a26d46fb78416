"""`NOTE_ACTIONS`: the rows of `action_table` for notes, flags and the region of interest."""

from __future__ import annotations

from napari_cellseg.gui.review import needs
from napari_cellseg.gui.review.action import Place, ReviewAction, Where
from napari_cellseg.gui.review.actions import ReviewActions

__all__ = ["NOTE_ACTIONS"]

NOTE_ACTIONS: tuple[ReviewAction, ...] = (
    ReviewAction(
        id="note",
        text="Note",
        tip="Write a note on the selected cells, or on the image if none is selected; Enter keeps it, Esc drops it",
        keys=("I",),
        place=Place.NOTE,
        needs=needs.edits,
        run=lambda do: do.notes.ask(),
        now=lambda do: f"Write a note on {do.notes.target}",
    ),
    ReviewAction(
        id="unsure",
        text="Unsure",
        tip="Flag the selected cells as unsure, or the image if none is selected; again removes the flag",
        keys=("U",),
        place=Place.NOTE,
        needs=needs.edits,
        run=lambda do: do.notes.toggle_unsure(),
        now=lambda do: f"{'Remove the flag of' if do.notes.is_unsure else 'Flag as unsure:'} {do.notes.target}",
        is_on=lambda do: do.notes.is_unsure,
    ),
    ReviewAction(
        id="region",
        text="Region",
        tip=(
            "Draw the region of interest, on a slide the part that Segment predicts: drag a box, or hold Ctrl and "
            "draw around it; a click removes it"
        ),
        keys=("G",),
        place=Place.NOTE,
        needs=needs.edits,
        run=ReviewActions.draw_region,
        is_on=lambda do: do.region.is_drawing,
    ),
    ReviewAction(
        id="keep_region",
        text="Keep",
        tip="Stop drawing the region; it stays as it was",
        keys=("Escape",),
        where=Where.REGION,
        needs=needs.nothing,
        run=lambda do: do.region.stop(),
    ),
)

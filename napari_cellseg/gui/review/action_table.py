"""`REVIEW_ACTIONS`: what can be done in a review. Buttons, keys, the list of F1 and docs/keys.md are made from it.

A new command is a method of `review.commands.Author`, or of `ReviewActions`, and one row here.
"""

from __future__ import annotations

from functools import partial

from napari_cellseg.gui.review.action import Place, ReviewAction, Where
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.widgets.class_key import CLASSES_WITH_KEY, class_key
from napari_cellseg.gui.widgets.notify import show_warning
from napari_cellseg.review import Author

__all__ = ["MOUSE", "REVIEW_ACTIONS", "action", "key_of", "perform"]


def action(action_id: str) -> ReviewAction:
    """Return a row of the table."""
    return next(row for row in REVIEW_ACTIONS if row.id == action_id)


def key_of(action_id: str) -> str:
    """Return the first key of an action, to be named in a text."""
    return action(action_id).keys[0]


def perform(row: ReviewAction, do: ReviewActions) -> None:
    """Do an action, or tell why it cannot work."""
    why_not = row.needs(do)
    if why_not is None:
        row.run(do)
    elif row.place in (Place.QUEUE, Place.HISTORY) or why_not == _edits(do):  # pressed many times in a row
        do.say(why_not)
    else:
        show_warning(why_not)


# ---- what an action needs ----


def _nothing(_: ReviewActions) -> str | None:
    return None


def _an_image(do: ReviewActions) -> str | None:
    return None if do.session is not None else "Open an image first."


def _edits(do: ReviewActions) -> str | None:
    """Say why nothing can be edited."""
    return _an_image(do) or (do.session.refusal if do.session is not None else "") or None


def _a_cell(do: ReviewActions) -> str | None:
    if do.session is not None and do.session.refusal:
        return do.session.refusal
    if do.missed is not None and not do.selection:
        add, skip = key_of("accept"), key_of("next")
        return f"There is no cell here yet. Press {add} to add the one on disk, or {skip} to skip it."
    chosen = None if do.selection else f"Select a cell first: click it, or press {key_of('next')}."
    return _an_image(do) or chosen


def _a_cell_or_a_missed_one(do: ReviewActions) -> str | None:
    return _edits(do) if do.missed is not None else _a_cell(do)


def _one_cell(do: ReviewActions) -> str | None:
    return _edits(do) or (None if len(do.selection) == 1 else "Select one cell first.")


def _two_cells(do: ReviewActions) -> str | None:
    few = "Select two or more cells first: click one, then Shift-click the others."
    return _edits(do) or (None if len(do.selection) > 1 else few)


def _a_queue(do: ReviewActions) -> str | None:
    return _an_image(do) or (None if do.queue.is_ready else "The queue is not ready yet.")


def _a_class(class_id: int, do: ReviewActions) -> str | None:
    return _a_cell(do) or (None if class_id <= len(do.class_names()) else f"There is no class {class_id}.")


def _something_done(do: ReviewActions) -> str | None:
    nothing = None if do.session is not None and do.session.undo_text else "There is nothing to undo."
    return nothing or _edits(do)


def _something_undone(do: ReviewActions) -> str | None:
    nothing = None if do.session is not None and do.session.redo_text else "There is nothing to redo."
    return nothing or _edits(do)


# ---- what an action would do now ----


def _with_count(tip: str, do: ReviewActions) -> str:
    return f"{tip}: {len(do.selection)} cells" if len(do.selection) > 1 else tip


def _accept_now(do: ReviewActions) -> str:
    return _with_count("Mark as right", do) if do.missed is None else "Add the cell on disk"


def _undo_now(do: ReviewActions) -> str:
    return f"Undo: {do.session.undo_text if do.session is not None else ''}"


def _redo_now(do: ReviewActions) -> str:
    return f"Redo: {do.session.redo_text if do.session is not None else ''}"


def _class_now(class_id: int, do: ReviewActions) -> str:
    names = do.class_names()
    return f"Class: {names[class_id - 1]}" if class_id <= len(names) else ""


def _class_action(class_id: int) -> ReviewAction:
    return ReviewAction(
        id=f"class_{class_id}",
        text=f"Class {class_id}",
        tip=f"Give the selected cells class {class_id}",
        keys=(class_key(class_id),),
        needs=partial(_a_class, class_id),
        run=lambda do: do.reclassify(class_id),
        now=partial(_class_now, class_id),
    )


REVIEW_ACTIONS: tuple[ReviewAction, ...] = (
    ReviewAction(
        id="accept",
        text="Accept",
        tip="Mark the selected cells as right",
        keys=("A",),
        place=Place.DECISION,
        needs=_a_cell_or_a_missed_one,
        run=ReviewActions.accept,
        now=_accept_now,
        is_primary=True,
    ),
    ReviewAction(
        id="reject",
        text="Reject",
        tip="Mark the selected cells as wrong, and hide them",
        keys=("R",),
        place=Place.DECISION,
        needs=_a_cell,
        run=ReviewActions.reject,
        now=partial(_with_count, "Mark as wrong and hide"),
    ),
    ReviewAction(
        id="next",
        text="Next",
        tip="Go to the next cell of the queue",
        keys=("N",),
        place=Place.QUEUE,
        needs=_a_queue,
        run=ReviewActions.next,
    ),
    ReviewAction(
        id="previous",
        text="Previous",
        tip="Go to the previous cell of the queue",
        keys=("Shift+N",),
        place=Place.QUEUE,
        needs=_a_queue,
        run=ReviewActions.previous,
    ),
    *(_class_action(class_id) for class_id in range(1, CLASSES_WITH_KEY + 1)),
    ReviewAction(
        id="merge",
        text="Merge",
        tip="Make one cell of the selected ones",
        keys=("Q",),
        place=Place.SHAPE,
        needs=_two_cells,
        run=ReviewActions.merge,
    ),
    ReviewAction(
        id="bridge",
        text="Merge and bridge",
        tip="Make one cell of the selected ones, and fill the gap between them",
        keys=("Shift+Q",),
        needs=_two_cells,
        run=lambda do: do.reshape(partial(Author.merge, bridge=True), "The cells are one already."),
    ),
    ReviewAction(
        id="split",
        text="Split",
        tip="Split the selected cell by a drawn line, or by clicked seeds",
        keys=("K",),
        place=Place.SHAPE,
        needs=_one_cell,
        run=ReviewActions.split,
    ),
    ReviewAction(
        id="cut",
        text="Cut",
        tip="Cut at the clicked seeds",
        keys=("Enter",),
        where=Where.SPLITTING,
        needs=_nothing,
        run=lambda do: do.cutting.finish(),
    ),
    ReviewAction(
        id="give_up",
        text="Give up",
        tip="Give up splitting",
        keys=("Escape",),
        where=Where.SPLITTING,
        needs=_nothing,
        run=lambda do: do.cutting.stop(),
    ),
    ReviewAction(
        id="fill_holes",
        text="Fill",
        tip="Fill the holes of the selected cells",
        place=Place.SHAPE,
        needs=_a_cell,
        run=lambda do: do.reshape(Author.fill_holes, "There is no hole to fill."),
    ),
    ReviewAction(
        id="smooth",
        text="Smooth",
        tip="Round the outlines of the selected cells",
        place=Place.SHAPE,
        needs=_a_cell,
        run=lambda do: do.reshape(Author.smooth, "Smoothing changes nothing here."),
    ),
    ReviewAction(
        id="delete",
        text="Delete",
        tip="Take the selected cells out, as if they had never been there",
        keys=("Delete",),
        place=Place.SHAPE,
        needs=_a_cell,
        run=ReviewActions.delete,
    ),
    ReviewAction(
        id="draw_new",
        text="New cell",
        tip="Draw a new cell with brush, fill or polygon; otherwise they draw on the selected cell",
        keys=("M",),
        where=Where.CANVAS,
        needs=_edits,
        run=ReviewActions.draw_new,
    ),
    ReviewAction(
        id="undo",
        text="Undo",
        tip="Take the last command back",
        keys=("Ctrl+Z",),
        place=Place.HISTORY,
        needs=_something_done,
        run=ReviewActions.undo,
        now=_undo_now,
    ),
    ReviewAction(
        id="redo",
        text="Redo",
        tip="Do the command undone last again",
        keys=("Ctrl+Shift+Z",),
        place=Place.HISTORY,
        needs=_something_undone,
        run=ReviewActions.redo,
        now=_redo_now,
    ),
    ReviewAction(
        id="keys",
        text="?",
        tip="Show this list of keys",
        keys=("F1", "?"),
        needs=_nothing,
        run=lambda do: do.keys_requested.emit(),
    ),
)

MOUSE = (
    ("Click", "Select a cell"),
    ("Shift+Click", "Select one more cell, or one less"),
    ("Shift+Drag", "Select the cells in a box"),
    ("Ctrl+Drag", "Select the cells in a lasso"),
)
"""What the mouse does on the canvas while no drawing tool is chosen."""

"""What the actions of a review need, as the reason why an action cannot work now, and what an action would do now."""

from __future__ import annotations

from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.slides.words import ONLY_IN_MEMORY
from napari_cellseg.review import Status

__all__ = [
    "a_cell", "a_cell_or_a_disputed_one", "a_cell_or_a_missed_one", "a_cell_to_delete", "a_class", "a_dispute",
    "a_model", "a_new_cell", "a_queue", "accept_now", "an_answer", "an_image", "an_image_after", "an_image_before",
    "any_step", "class_now", "corrections", "edits", "nothing", "one_cell", "redo_now", "reject_now", "something_done",
    "something_undone", "take_now", "the_end", "trial", "two_cells", "undo_now", "with_count",
]  # fmt: skip


def nothing(_: ReviewActions) -> str | None:
    """Need nothing."""
    return None


def an_image(do: ReviewActions) -> str | None:
    """Say why there is no image to review."""
    if do.opener.state.slide is not None:
        return ONLY_IN_MEMORY
    return None if do.session is not None else "Open an image first."


def edits(do: ReviewActions) -> str | None:
    """Say why nothing can be edited."""
    return an_image(do) or (do.session.refusal if do.session is not None else "") or None


def a_cell(do: ReviewActions) -> str | None:
    """Say why no cell can be decided about."""
    if do.session is not None and do.session.refusal:
        return do.session.refusal
    if do.missed is not None and not do.selection:
        return "There is no cell here yet. Press A to add the one on disk, or N to skip it."
    chosen = None if do.selection else "Select a cell first: click it, or press N."
    return an_image(do) or chosen


def a_cell_or_a_missed_one(do: ReviewActions) -> str | None:
    """Say why no cell can be accepted."""
    if do.new_cell.is_waiting:
        return do.new_cell.hint
    return edits(do) if do.missed is not None or do.new_cell.is_shown else a_cell(do)


def a_cell_or_a_disputed_one(do: ReviewActions) -> str | None:
    """Say why no cell can be rejected, nor left out."""
    return edits(do) if do.adjudicating.dispute(do.missed) is not None else a_cell(do)


def a_cell_to_delete(do: ReviewActions) -> str | None:
    """Say why no cell can be deleted; a deleted cell would leave no record of its dispute."""
    is_disputed = any(do.adjudicating.dispute(i) is not None for i in do.selection)
    return a_cell(do) or ("Reject a disputed cell (R): a deleted one leaves no record." if is_disputed else None)


def a_dispute(do: ReviewActions) -> str | None:
    """Say why there is no decision of another reader to take."""
    if not do.adjudicating.name:
        return an_image(do) or "Choose 'disputed cells' above the queue first."
    here = do.missed if do.missed is not None else do.selection[0] if len(do.selection) == 1 else None
    return edits(do) or (None if do.adjudicating.dispute(here) is not None else "Go to a disputed cell first: N.")


def one_cell(do: ReviewActions) -> str | None:
    """Say why there is not one cell to change."""
    return edits(do) or (None if len(do.selection) == 1 else "Select one cell first.")


def two_cells(do: ReviewActions) -> str | None:
    """Say why there are not two cells to merge."""
    few = "Select two or more cells first: click one, then Shift-click the others."
    return edits(do) or (None if len(do.selection) > 1 else few)


def a_queue(do: ReviewActions) -> str | None:
    """Say why there is no queue."""
    return an_image(do) or (None if do.queue.is_ready else "The queue is not ready yet.")


def a_class(class_id: int, do: ReviewActions) -> str | None:
    """Say why no class can be set."""
    unknown = None if class_id <= len(do.class_names()) else f"There is no class {class_id}."
    is_new = do.draws_new or do.new_cell.is_shown or do.adjudicating.dispute(do.missed) is not None
    return (edits(do) if is_new else a_cell(do)) or unknown


def something_done(do: ReviewActions) -> str | None:
    """Say why nothing can be undone."""
    nothing = (
        None
        if do.session is not None and do.session.undo_text
        else f"There is nothing to undo. {do.steps.undone_text}".rstrip()
    )
    return nothing or edits(do)


def something_undone(do: ReviewActions) -> str | None:
    """Say why nothing can be redone."""
    nothing = None if do.session is not None and do.session.redo_text else "There is nothing to redo."
    return nothing or edits(do)


def any_step(do: ReviewActions) -> str | None:
    """Say why there is no step to go back or forward to."""
    nothing = None if do.session is not None and any(do.session.steps) else "Nothing was changed yet."
    return an_image(do) or nothing


def an_image_before(do: ReviewActions) -> str | None:
    """Say why the image before cannot be opened."""
    return _another_image(do, 0, "This is the first image.")


def an_image_after(do: ReviewActions) -> str | None:
    """Say why the image after cannot be opened."""
    return _another_image(do, -1, "This is the last image.")


def _another_image(do: ReviewActions, end: int, at_end: str) -> str | None:
    state = do.opener.state
    if not state.images:
        return "Open a folder of images first."
    if state.loading:
        return "An image is being opened."
    return at_end if state.images[end] == state.file else None


def an_answer(do: ReviewActions) -> str | None:
    """Say why no model can be compared with the labels."""
    return do.truth.why_not


def corrections(do: ReviewActions) -> str | None:
    """Say why there is nothing to train on, or why *Train* cannot start."""
    state = do.opener.state
    if state.workspace is None:
        return "Open a folder of images first."
    if state.is_training:
        return "Train is running. Wait for the end or stop it."
    here = state.session is not None and state.session.progress.reviewed > 0
    if here or do.opener.summaries.reviewed_images:
        return None
    return "Nothing is reviewed yet. Accept or correct some cells first."


def trial(do: ReviewActions) -> str | None:
    """Say why there is no new model to keep or drop."""
    state = do.opener.state
    wait = "The new model is being compared with the former one. Wait a moment."
    return None if state.trial_is_ready else wait if state.trial else "No new model waits: Train 5 min makes one."


def the_end(do: ReviewActions) -> str | None:
    """Say why the end of the queue is not reached."""
    undecided = None if do.queue.is_finished else "Cells of this image await a decision."
    is_open = do.queue.content.is_disputed and do.adjudicating.next_image() is not None
    return an_image(do) or undecided or (None if is_open else an_image_after(do))


def a_new_cell(do: ReviewActions) -> str | None:
    """Say why there is no new cell to change."""
    return edits(do) or (None if do.new_cell.is_shown else do.new_cell.hint)


def a_model(do: ReviewActions) -> str | None:
    """Say why the image cannot be segmented."""
    return edits(do) or (None if do.opener.state.model is not None else "Choose a model in Segment first.")


# ---- what an action would do now ----


def with_count(tip: str, do: ReviewActions) -> str:
    """Add the number of selected cells."""
    return f"{tip}: {len(do.selection)} cells" if len(do.selection) > 1 else tip


def accept_now(do: ReviewActions) -> str:
    """Say what accepting would do."""
    if do.new_cell.is_shown:
        return "Add the new cell"
    if do.adjudicating.dispute(do.missed) is not None:
        return f"Take the cell of {do.adjudicating.name}"
    return with_count("Mark as correct", do) if do.missed is None else "Add the cell on disk"


def reject_now(do: ReviewActions) -> str:
    """Say what rejecting would do."""
    if do.adjudicating.dispute(do.missed) is not None:
        return f"Leave out the cell of {do.adjudicating.name}"
    return with_count("Mark as wrong and hide", do)


def take_now(do: ReviewActions) -> str:
    """Say what of the other reader would be taken."""
    dispute = do.adjudicating.dispute(do.missed if do.missed is not None else next(iter(do.selection), None))
    name = do.adjudicating.name or "the other reader"
    if dispute is not None and (dispute.other is None or dispute.other.status is Status.REJECTED):
        return f"Reject the cell, as {name} did"
    return f"Take class and outline of {name}"


def undo_now(do: ReviewActions) -> str:
    """Say what would be undone."""
    return f"Undo: {do.session.undo_text if do.session is not None else ''}"


def redo_now(do: ReviewActions) -> str:
    """Say what would be redone."""
    return f"Redo: {do.session.redo_text if do.session is not None else ''}"


def class_now(class_id: int, do: ReviewActions) -> str:
    """Name the class."""
    names = do.class_names()
    return f"Class: {names[class_id - 1]}" if class_id <= len(names) else ""

"""What the review says when its queue has no cell to show."""

from __future__ import annotations

from napari_cellseg.gui.review.queue_walk import QueueWalk
from napari_cellseg.gui.review.truth_view import TruthView
from napari_cellseg.gui.state import AppState
from napari_cellseg.review import ReviewSession
from napari_cellseg.review.queue import QueueContent
from napari_cellseg.wording import counted

__all__ = ["agreement_text", "end_text", "has_flags", "nothing_text"]


def end_text(state: AppState, queue: QueueWalk) -> str:
    """Return what to do at the end of the queue; empty while cells await a decision, or when there are no cells."""
    session = state.session
    if session is None or not queue.is_finished:
        return ""
    if queue.content.is_flagged:
        return "No cell of this image has a note or flag."
    if queue.content.is_disputed:
        return _end_of_disputes(state)
    left = session.progress.total - session.progress.reviewed
    if left:
        given = queue.content is QueueContent.PROPOSED
        kind, choice = ("given label", QueueContent.GIVEN) if given else ("proposed cell", QueueContent.PROPOSED)
        return f"{counted(left, kind)} not reviewed. Choose {choice.value!r} above to check {_them(left)}."
    if not state.images or state.images[-1] == state.file:
        return "All cells of this image are decided."
    return "All cells of this image are decided. Enter opens the next image."


def agreement_text(truth: TruthView, queue: QueueWalk) -> str:
    """Return how the cells agree with another reader, or with the model that is shown next to the image."""
    if queue.disputes is not None:
        settled = queue.disputes.settled
        return f"{queue.disputes.reader.name}: {settled:,} of {settled + queue.open_disputes:,} settled here"
    return truth.picture.text if truth.picture is not None and truth.is_shown else ""


def _end_of_disputes(state: AppState) -> str:
    left = sum(count for image_id, count in state.disputed.items() if image_id != state.image_id)
    if left:
        return f"No disputed cell is left in this image. Enter opens the next one with any ({left:,} left)."
    return "No disputed cell is left in this image. Compare again in Export to see what changed."


def nothing_text(state: AppState, queue: QueueWalk) -> str:
    """Return why the queue gives no cell."""
    session = state.session
    if session is None or not session.cells:
        return "This image has no cells yet. Segment it, or draw cells."
    if queue.content.is_disputed and queue.second.problem:
        return queue.second.problem
    return end_text(state, queue) or "No cell of this class awaits a decision."


def has_flags(session: ReviewSession) -> bool:
    """Return whether a cell that is shown has a note or flag."""
    return any(cell.is_flagged and session.is_visible(cell) for cell in session.cells.values())


def _them(number: int) -> str:
    return "it" if number == 1 else "them"

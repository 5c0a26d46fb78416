"""Leaving an image, a folder or the viewer: edits are saved, or the user says what to do with them."""

from __future__ import annotations

import logging

from napari_cellseg.errors import CellSegError, ExportError
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error, show_info
from napari_cellseg.gui.widgets.questions import Answer, ask_about_unsaved, ask_to_drop
from napari_cellseg.wording import counted
from napari_cellseg.workspace import Sessions

__all__ = ["has_to_ask", "keep_or_log", "may_leave", "save_current"]

_LOG = logging.getLogger(__name__)


def save_current(state: AppState) -> CellSegError | None:
    """Save the annotations of the current image; returns why they cannot be saved."""
    workspace, image_id = state.workspace, state.image_id
    if workspace is None or image_id is None or image_id not in workspace.unsaved():
        return None
    try:
        workspace.save(image_id)
    except CellSegError as error:
        return error
    state.status_changed.emit(image_id)
    return None


def has_to_ask(state: AppState) -> bool:
    """Save what was edited; return whether `may_leave` has to ask, as it cannot be saved."""
    if state.workspace is None or state.image_id is None:
        return state.session is not None and bool(state.session.undo_text)
    return save_current(state) is not None


def may_leave(state: AppState) -> bool:
    """Save what was edited; ask when that cannot be done. Returns whether the current image may be closed."""
    workspace, image_id, session = state.workspace, state.image_id, state.session
    if workspace is None or image_id is None:
        is_edited = session is not None and bool(session.undo_text)
        return not is_edited or ask_to_drop(state.window, image_id or "this image")
    error = save_current(state)
    if error is None:
        return True
    edits = counted(workspace.unsaved_edits(image_id), "edit")
    answer = ask_about_unsaved(state.window, f"{edits} of {image_id}", str(error))
    if answer is Answer.SAVE:
        return _keep(state, workspace, image_id)
    if answer is Answer.DISCARD:
        state.set_current(None, None, None)
        workspace.discard_changes(image_id)
        state.status_changed.emit(image_id)
    return answer is not Answer.CANCEL


def keep_or_log(state: AppState) -> None:
    """Save, or keep the edits elsewhere, without a question: a script closes the viewer, or the program ends."""
    workspace = state.workspace
    if workspace is None:
        return
    error = save_current(state)
    why = f"{error} " if error is not None else ""
    for image_id in workspace.unsaved():
        try:
            _LOG.warning("%sThe edits of %s are kept in %s.", why, image_id, workspace.keep_elsewhere(image_id))
        except ExportError as refused:
            _LOG.error("The edits of %s are lost: %s%s", image_id, why, refused)


def _keep(state: AppState, workspace: Sessions, image_id: str) -> bool:
    try:
        path = workspace.keep_elsewhere(image_id)
    except ExportError as error:
        show_error(error, state.window)
        return False
    show_info(f"The edits of {image_id} are kept in {path}. They are offered when the image is opened again.")
    return True

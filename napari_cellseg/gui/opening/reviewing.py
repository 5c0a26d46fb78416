"""Make a review of the cells that a worker read, in the thread of the window."""

from __future__ import annotations

import time

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error, show_warning
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace.open_any import LoadedImage

__all__ = ["begin_review", "window_name"]


def begin_review(state: AppState, loaded: LoadedImage, source: str) -> ReviewSession | None:
    """Open the cells that were read, with the proposals of a file named ``source``; None when they cannot be."""
    workspace = state.workspace
    if workspace is None:
        return loaded.cells.session
    try:
        session = workspace.open(loaded.cells)
        workspace.expect(None)
        if loaded.proposals is not None and not workspace.read_only:
            session.load_proposals(loaded.proposals, source)
    except CellSegError as error:
        workspace.close_session(loaded.file.image_id)
        show_error(error, state.window)
        return None
    if loaded.cells.problem:
        show_warning(loaded.cells.problem)
    return session


def window_name(state: AppState) -> str:
    """Return what another window of this program calls this one."""
    title = getattr(state.window, "windowTitle", lambda: "")() or "napari"
    return f"{title}, since {time.strftime('%H:%M')}"

"""Make a review of the cells that a worker read, in the thread of the window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from qtpy.QtCore import QObject

from napari_cellseg.class_match import is_placeholder
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CellSegError, CheckpointError
from napari_cellseg.gui.preferences import remember
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_choice, show_error, show_warning
from napari_cellseg.images.listing import ImageFile
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.review import ReviewSession
from napari_cellseg.wording import counted, listed
from napari_cellseg.workspace import Project
from napari_cellseg.workspace.open_any import LoadedImage, OpenedFolder

__all__ = [
    "begin_review", "listing_text", "offer_labels", "read_as_before", "set_every_plane", "welcome_folder",
    "window_name",
]  # fmt: skip


def begin_review(state: AppState, loaded: LoadedImage, source: str) -> ReviewSession | None:
    """Open the cells that were read, with the proposals of a file named ``source``; None when they cannot be.

    The viewer gets their classes and minimum scores; a review without cells gets the classes of the viewer.
    """
    workspace = state.workspace
    if workspace is None:
        _use_classes_of(state, loaded.cells.session)
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
    _use_classes_of(state, session)
    return session


def _use_classes_of(state: AppState, session: ReviewSession) -> None:
    """Use the classes and minimum scores of a review; one without cells gets those of the viewer."""
    state.set_cells_model(None)  # a slide is left: its minimum scores are not those of the next image
    if state.workspace is not None and state.workspace.project.classes is not None:
        state.set_classes(session.classes)
    elif session.cells:
        if is_placeholder(state.classes) and len(state.classes) > len(session.classes):
            session.classes = state.classes  # another image of the folder has more classes
        state.set_classes(session.classes, provisional=True)
    else:
        session.classes = state.classes
    if session.min_scores:
        state.set_min_scores(session.min_scores)


def welcome_folder(state: AppState, opened: OpenedFolder) -> None:
    """Use the classes of a folder that was just opened, remember the folder, and say what is left out of it."""
    project = opened.project
    classes = opened.classes or project.classes
    if classes is not None:
        state.set_classes(classes)
    else:  # not those of the folder before
        state.set_classes(_model_classes(state), provisional=True)
    remember("folder", str(project.path))
    if opened.problem:
        show_warning(opened.problem)
    if opened.imported.remarks:
        show_warning(f"{opened.imported.source}: " + " ".join(opened.imported.remarks))


def read_as_before(listed: Iterable[ImageFile], before: Mapping[str, ImageFile]) -> tuple[ImageFile, ...]:
    """Return the files as they are read now: the options may have changed while a worker listed them."""
    return tuple(
        replace(file, reading=before[file.image_id].reading) if file.image_id in before else file for file in listed
    )


def _model_classes(state: AppState) -> ClassTable:
    """Return the classes of the chosen model; one class without a usable model."""
    try:
        return ClassTable.numbered(1) if state.model is None else read_header(state.model).classes
    except CheckpointError:
        return ClassTable.numbered(1)


def listing_text(project: Project, before: Mapping[str, ImageFile]) -> str:
    """Return what changed in the image list of a folder that is open already."""
    now = {file.image_id for file in project.images}
    if {file.plane is not None for file in before.values()} != {file.plane is not None for file in project.images}:
        what = "each plane of a stack is an image" if project.every_plane else "each stack is one image again"
        kept = [image_id for image_id in before if image_id not in now and project.annotations_file(image_id)]
        stay = f" The cells of {listed(kept)} are kept, and are shown when this is changed back." if kept else ""
        return f"In {project.folder.name}, {what}: {counted(len(now), 'image')}.{stay}"
    new = len(now - before.keys())
    return f"{project.folder.name} is open already; it has {counted(new, 'new image') if new else 'no new image'}."


def set_every_plane(state: AppState, every_plane: bool) -> bool:
    """Record whether each plane of a stack is an image; return whether that changed. An error is shown."""
    workspace = state.workspace
    if workspace is None or workspace.project.every_plane == every_plane:
        return False
    try:
        workspace.set_every_plane(every_plane)
    except CellSegError as error:
        show_error(error, state.window)
        return False
    return True


def offer_labels(image_id: str, begin_anew: Callable[[str], None], owner: QObject) -> None:
    """Offer the ``class*.tif`` of an image that another program changed."""
    show_choice(
        f"The class*.tif of {image_id} were changed after its annotations, which are shown, were saved.",
        "Reload from class*.tif",
        lambda: begin_anew(image_id),
        owner,
    )


def window_name(state: AppState) -> str:
    """Return what another window of this program calls this one."""
    title = getattr(state.window, "windowTitle", lambda: "")() or "napari"
    return f"{title}, since {time.strftime('%H:%M')}"

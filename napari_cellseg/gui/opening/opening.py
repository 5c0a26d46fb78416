"""`Opener`: opens folders and images for one viewer, and never loses what was edited before."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.canvas.foreign_layer import image_of_layer
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.opening.first_image import FirstImage
from napari_cellseg.gui.opening.leaving import keep_or_log, may_leave, save_current
from napari_cellseg.gui.opening.own_layer import OwnLayer
from napari_cellseg.gui.opening.reader import folder_opener
from napari_cellseg.gui.opening.reviewing import (
    begin_review,
    listing_text,
    offer_labels,
    read_as_before,
    set_every_plane,
    welcome_folder,
    window_name,
)
from napari_cellseg.gui.opening.summaries import Summaries
from napari_cellseg.gui.preferences import remember
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error, show_info, show_warning
from napari_cellseg.gui.widgets.questions import Answer, ask_about_recovery
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.plane_images import id_on_canvas
from napari_cellseg.images.read import ImageFile
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace import Sessions
from napari_cellseg.workspace.editing import taken_by
from napari_cellseg.workspace.open_any import (
    Imported,
    LoadedImage,
    LoadedSlide,
    OpenedFolder,
    UnsavedEdits,
    list_again,
    load_image,
)
from napari_cellseg.workspace.own_labels import forget_annotations

__all__ = ["Opener"]

_MANY_BYTES = 8 * 2**20
"""Pixels that take the window some time to show."""

_BREATH_MS = 15
"""Between two long steps, so that the event loop takes keys and the mouse, and not the next step in the same turn."""


class Opener(QObject):
    """Opens one thing at a time; the last wish wins."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self.summaries = Summaries(state)
        self.job = Job(state, "opening images")
        self._state = state
        self._imported = Imported()
        self._wanted: ImageFile | None = None
        self._loading: ImageFile | None = None
        self._begin_with: str | None = None
        self._own_layer = OwnLayer(state)
        self._loaded: LoadedImage | None = None
        self._first = FirstImage(state, self.summaries)
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._show_loaded)
        self.job.finished.connect(self._on_finished)
        self.job.failed.connect(self._on_failed)
        self.job.changed.connect(self._on_job)
        state.classes_changed.connect(self._keep_classes)

    # ---- for the docks ----

    @property
    def state(self) -> AppState:
        """What is open and chosen."""
        return self._state

    def open_path(self, path: Path, *, take_over: bool = False, image_id: str | None = None) -> None:
        """Open an image, a folder of images, or a COCO file; then one of its images, the first when left out.

        The folder that is open already is listed again: the image on the canvas and its edits stay.
        """
        self._loading = None
        workspace = self._state.workspace
        if workspace is not None and not workspace.read_only and workspace.project.is_at(path):
            project, imported = workspace.project, self._imported
            self._begin_with = image_id
            self.job.start(lambda: list_again(project, imported))
        elif self._leave():
            self._wanted, self._begin_with = None, image_id
            self._state.set_loading(f"Opening {path.name}...")
            self.job.start(partial(folder_opener(), path, take_over=take_over, image_id=image_id))

    def open_made_folder(self, make: Callable[[], Generator[None, None, None]], folder: Path) -> None:
        """Open a folder after a generator has written it."""
        open_it = folder_opener()

        def make_and_open() -> Generator[None, None, OpenedFolder]:
            yield from make()
            return (yield from open_it(folder))

        if self._leave():
            self._wanted = self._loading = None
            self._state.set_loading(f"Writing {folder.name}...")
            self.job.start(make_and_open)

    def show(self, image_id: str) -> None:
        """Put an image of the list on the canvas."""
        file = next((file for file in self._state.images if file.image_id == image_id), None)
        if file is None or file == self._state.file or not self._leave():
            return
        self._first.settle()
        self._wanted = file
        if not self.job.is_busy:  # else it is loaded when the job is done
            self._load(file)

    def read_as(self, options: ReadOptions, *, all_images: bool = False) -> None:
        """Read the current image (with ``all_images`` each of the folder) in another way, and show it again.

        While something is being opened, the image that was asked for last is read in this way afterwards.
        """
        workspace, current = self._state.workspace, self._state.file
        if workspace is None or current is None or not self._leave():
            return
        wanted, options = self._wanted or current, options if current.plane is None else options.without_plane()
        images = tuple(file.read_as(options) if all_images or file == current else file for file in self._state.images)
        workspace.show_listing(replace(workspace.project, images=images))
        self._state.set_images(images)
        self._wanted = next((file for file in images if file.image_id == wanted.image_id), None)
        if self._wanted is not None and not self.job.is_busy:  # else it is loaded when the job is done
            self._load(self._wanted)

    def separate_planes(self, every_plane: bool) -> None:
        """Make each plane of a stack an image of the open folder, or each stack one image again."""
        workspace, current = self._state.workspace, self._state.file
        if workspace is None or not self._leave() or not set_every_plane(self._state, every_plane):
            return
        self._close_current()
        self._wanted = self._loading = None
        self._begin_with = None if current is None else id_on_canvas(current, every_plane=every_plane)
        project, imported = workspace.project, self._imported
        self._state.set_loading("Listing the planes..." if every_plane else "Listing the images...")
        self.job.start(lambda: list_again(project, imported))

    def preview(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Show the current image of the folder with other brightness, (H, W, 3), until it is read in that way."""
        if not self.job.is_busy:
            self._own_layer.preview(rgb)

    def step(self, by: int) -> None:
        """Go to the next image (1) or the one before (-1)."""
        files = self._state.images
        here = self._wanted or self._state.file
        place = files.index(here) + by if here in files else 0
        if 0 <= place < len(files):
            self.show(files[place].image_id)

    def show_pixels(self, layer: Any) -> None:
        """Take an image layer of the viewer, from another plugin say, as the current image; it has no folder.

        Of a stack it is the plane on show.
        """
        found = image_of_layer(layer, self._state.viewer)
        if isinstance(found, str):
            show_warning(f"The layer {layer.name} cannot be segmented: {found}.")
        elif self._leave():
            layer.scale = (*layer.scale[:-2], 1, 1)  # as the class layers
            layer.units = (*layer.units[:-2], "pixel", "pixel")
            self._forget_folder()
            session = ReviewSession(found.image.size, self._state.classes)
            self._state.set_current(ImageFile(found.image_id, Path(layer.name)), found.image, session)

    def save(self) -> bool:
        """Save the annotations of the current image; returns whether there is nothing left to save."""
        error = save_current(self._state)
        if error is not None:
            show_error(error, self._state.window)
        return error is None

    def begin_anew(self, image_id: str) -> None:
        """Open an image again with the cells of its ``class*.tif``; its annotations are set aside as .bak."""
        workspace, file = self._state.workspace, self._state.file
        if workspace is None or file is None or file.image_id != image_id or not self._leave():
            return
        self._close_current()
        try:
            forget_annotations(workspace, image_id)
        except CellSegError as error:
            show_error(error, self._state.window)
        self.show(image_id)

    # ---- how ----

    def _leave(self) -> bool:
        """Save what was edited, or ask; returns whether the current image may be closed."""
        self._show_loaded()
        image_id = self._state.image_id
        may = may_leave(self._state)
        if may and image_id is not None:
            self.summaries.note(image_id)
        return may

    def _load(self, file: ImageFile, recover: bool | None = None) -> None:
        workspace = self._state.workspace
        if workspace is not None:
            imported, project = self._imported, workspace.project
            if workspace.read_only:
                recover = False  # they are the other viewer's
            self._loading = file
            workspace.expect(file.image_id)
            self._state.set_loading(f"Opening {file.image_id}...")
            self.job.start(lambda: load_image(project, file, imported, recover=recover))

    def _on_finished(self, result: OpenedFolder | LoadedImage | LoadedSlide | UnsavedEdits) -> None:
        if isinstance(result, OpenedFolder):
            self._use_listing(result) if result.is_again else self._ask_about_folder(result)
        elif self._wanted is not None and self._wanted != result.file:
            if isinstance(result, LoadedSlide):
                result.levels.close()
            self._load(self._wanted)
        elif isinstance(result, LoadedSlide):
            self._use_slide(result)
        elif isinstance(result, UnsavedEdits):
            self._ask_about(result)
        else:
            self._use_image(result)

    def _on_failed(self, error: CellSegError) -> None:
        failed, self._loading = self._loading, None
        self._first.tell(failed, error)
        if self._wanted is None or self._wanted == failed:
            self._wanted = self._first.next()
        self._show_nothing() if self._wanted is None else self._load(self._wanted)

    def _show_nothing(self) -> None:
        """Leave no layer of what was open before on the canvas if nothing is open now."""
        if self._state.file is None and self._state.session is None:
            self._own_layer.empty()
            self._state.emptied.emit()

    def _on_job(self) -> None:
        if not self.job.is_busy:
            self._state.set_loading("")
            if self.job.state is not JobState.FINISHED and self._state.workspace is not None:
                self._state.workspace.expect(None)
            if self.job.state is JobState.STOPPED and not self._state.is_closed:
                self._show_nothing()

    def _ask_about_folder(self, opened: OpenedFolder) -> None:
        """Ask about unsaved edits of its first image while all that is open still is."""
        recover = None
        if opened.recovery is not None and not taken_by(opened.project):
            answer = ask_about_recovery(self._state.window, opened.recovery)
            if answer is Answer.CANCEL:
                opened.project.close()
                return
            recover = answer is Answer.SAVE
        self._use_folder(opened, recover=recover)

    def _use_folder(self, opened: OpenedFolder, *, recover: bool | None) -> None:
        self._forget_folder()
        project = opened.project
        try:
            workspace = Sessions(project, window=window_name(self._state), take_over=opened.take_over)
        except CellSegError as error:
            project.close()
            show_error(error, self._state.window)
            return
        self.summaries.replace(opened.summaries, project.images)
        self._imported = opened.imported
        self._state.set_workspace(workspace, project.images)
        welcome_folder(self._state, opened)
        self.summaries.changed.emit()
        self._first.seek(opened.first)
        self._wanted = project.file(opened.first)
        self._load(self._wanted, recover)

    def _use_listing(self, opened: OpenedFolder) -> None:
        """Show the images that are in the open folder now; the current one stays, with its edits."""
        state, workspace = self._state, self._state.workspace
        if workspace is None or workspace.project.path != opened.project.path:  # another folder was opened meanwhile
            return
        before = {image.image_id: image for image in state.images}
        images = read_as_before(opened.project.images, before)
        workspace.show_listing(replace(opened.project, images=images))
        self.summaries.replace(opened.summaries, images)
        state.set_images(images)
        self.summaries.note_current()
        self.summaries.changed.emit()
        ids = [image.image_id for image in state.images]
        show_info(listing_text(workspace.project, before))
        if self._begin_with in ids:
            self.show(self._begin_with)
        elif state.image_id not in ids:
            self.show(ids[0])
        elif self._wanted is not None:  # asked for while the folder was listed
            self._load(self._wanted)

    def _use_image(self, loaded: LoadedImage) -> None:
        self._wanted = self._loading = None
        self._first.settle()
        self._close_current()
        # napari takes its time for a first layer, and for many pixels: not both in one turn.
        self._own_layer.bring(loaded.file.image_id)
        self._loaded = loaded
        if loaded.rgb.nbytes > _MANY_BYTES:
            self._turn.start(_BREATH_MS)
        else:
            self._show_loaded()

    def _use_slide(self, slide: LoadedSlide) -> None:
        """Show a slide; `gui.slides` follows the state."""
        self._wanted = self._loading = None
        self._first.settle()
        self._close_current()
        if self._state.workspace is not None:
            self._state.workspace.expect(None)
        self._state.set_current(slide.file, None, None, slide)
        self._state.emptied.emit()  # of layers for images in memory
        remember("image", slide.file.image_id)
        self.summaries.note_problem(slide.file.image_id, "")

    def _show_loaded(self) -> None:
        """Put the image that was loaded on the canvas."""
        self._turn.stop()
        state, loaded, self._loaded = self._state, self._loaded, None
        if loaded is None:
            return
        session = begin_review(state, loaded, self._imported.source)
        if session is None:
            self._show_nothing()
            return
        self._own_layer.show(loaded.rgb, loaded.file.image_id)
        state.set_current(loaded.file, loaded.image, session)
        remember("image", loaded.file.image_id)
        self.summaries.note(loaded.file.image_id)
        self.summaries.note_problem(loaded.file.image_id, "")
        if loaded.labels_changed:
            offer_labels(loaded.file.image_id, self.begin_anew, self)
        if loaded.image.shown:
            show_info(f"Of {loaded.file.image_id}, {loaded.image.shown} is shown.")

    def _ask_about(self, edits: UnsavedEdits) -> None:
        answer = ask_about_recovery(self._state.window, edits.recovery)
        if answer is Answer.CANCEL:
            self._wanted = None
            self._first.settle()
            self._show_nothing()
        else:
            self._load(edits.file, recover=answer is Answer.SAVE)

    def _close_current(self) -> None:
        self._show_loaded()
        state = self._state
        image_id = state.image_id
        if state.file is not None or state.session is not None:  # every dock hears of it, 40 ms
            state.set_current(None, None, None)
        if image_id is not None and state.workspace is not None:
            state.workspace.close_session(image_id)
            self.summaries.note(image_id)
        self._own_layer.hide()

    def _forget_folder(self) -> None:
        self._close_current()
        workspace = self._state.workspace
        self.summaries.replace({})
        self._imported = Imported()
        if workspace is not None:
            self._state.set_workspace(None, ())
            workspace.close()
        self.summaries.changed.emit()

    def _keep_classes(self) -> None:
        workspace = self._state.workspace
        if workspace is not None and not self._state.classes_are_provisional:
            try:
                workspace.set_classes(self._state.classes)
            except CellSegError as error:
                show_error(error, self._state.window)

    def close(self) -> None:
        """Save the current image and let go of the folder."""
        self._turn.stop()
        keep_or_log(self._state)
        if self._state.workspace is not None:
            self._state.workspace.close()

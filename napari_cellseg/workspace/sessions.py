"""`Sessions`: the images of a project under review, journalled and saved; for the window's thread only."""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Self

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ExportError
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace.annotations import (
    Annotations,
    ImageSummary,
    summary_of,
)
from napari_cellseg.workspace.editing import EditRight
from napari_cellseg.workspace.journal_writer import JournalWriter
from napari_cellseg.workspace.kept_edits import keep_edits, set_aside_kept
from napari_cellseg.workspace.labels import label_stamps
from napari_cellseg.workspace.loading import LoadedCells, load_cells
from napari_cellseg.workspace.open_image import OpenImage, open_image
from napari_cellseg.workspace.open_project import open_project
from napari_cellseg.workspace.places import journal_file
from napari_cellseg.workspace.project import Project
from napari_cellseg.workspace.project_file import write_classes, write_every_plane
from napari_cellseg.workspace.status import SaveStatus, status_of

__all__ = ["Sessions"]


class Sessions:
    """The reviews of one project in one window: what is open, what is saved, and who may edit.

    Made and used in the thread of the window only, which every method asserts: a worker reads the `Project` and
    returns values, and the window turns them into reviews.

    One window of one process edits a folder. In any other window `read_only` names that window, and all edits are
    refused with that reason.

    Parameters
    ----------
    project : Project
        From `open_project`; closed with the sessions.
    window : str
        The name of this window, for messages in other windows of this process.
    take_over : bool
        Edit even if another window of this process does; that window saves and becomes read-only.

    Raises
    ------
    ExportError
        The other window cannot save.
    """

    def __init__(self, project: Project, *, window: str = "napari", take_over: bool = False) -> None:
        self._thread = threading.get_ident()
        self._project = project
        self.window = window
        self._open: dict[str, OpenImage] = {}
        self._expected: str | None = None
        self._writer = JournalWriter()
        self._end = weakref.finalize(self, self._writer.close)  # also at exit, before the lock is released
        self._right = EditRight(project, self, take_over=take_over)

    @classmethod
    def of_folder(cls, path: str | os.PathLike[str], *, user: str | None = None, take_over: bool = False) -> Self:
        """Open a folder, or one image, for review; see `open_project`."""
        return cls(open_project(path, user=user, take_over=take_over), take_over=take_over)

    def assert_owner_thread(self) -> None:
        """Assert that the caller is the thread that made the sessions."""
        assert threading.get_ident() == self._thread, "Sessions belong to the thread of the window; use the Project."

    # ---- the project ----

    @property
    def project(self) -> Project:
        """The state on disk; a value for workers."""
        self.assert_owner_thread()
        return self._project

    @property
    def read_only(self) -> str:
        """Why nothing can be edited here; empty if it can."""
        self.assert_owner_thread()
        return self._right.lost

    @property
    def problem(self) -> str:
        """Why edits may not be on disk at the moment; empty if they are."""
        return self._writer.problem or self._right.problem

    def set_classes(self, classes: ClassTable) -> None:
        """Replace the class table of the project.

        Raises
        ------
        ExportError
            It cannot be written.
        """
        if classes != self.project.classes:
            self._project = replace(self._project, classes=classes)
            if not self.read_only:
                write_classes(self._project.state_folder, classes)

    def set_every_plane(self, every_plane: bool) -> None:
        """Make each plane of a stack an image of the project, or not; `Project.relisted` then gives the images.

        Raises
        ------
        ExportError
            It cannot be written.
        """
        self.check_mine()
        project = self._project
        write_every_plane(project.state_folder, every_plane)
        self._project = replace(project, every_plane=every_plane)

    def show_listing(self, project: Project) -> None:
        """Use the images of `Project.relisted`; open reviews stay open."""
        self._project = replace(self.project, images=project.images)

    # ---- who edits ----

    def hand_over(self) -> None:
        """Save everything and stop editing, because another window of this process edits now.

        Raises
        ------
        ExportError
            The edits cannot be saved; this window remains the editor.
        """
        for image_id in tuple(self._open):
            if self.is_modified(image_id):
                self.save(image_id)
        self._refuse_edits("Another window of this program took over the folder.")

    def check_lock(self) -> bool:
        """Check whether another viewer took the lock; if so, keep unsaved edits elsewhere and refuse further ones.

        Never waits for the disk: the answer is that of the last check, and a thread reads the lock file for the next.

        Returns
        -------
        bool
            Whether this window may still edit the folder.
        """
        if self.read_only:
            return False
        owner = self._right.taken_over_by()
        if owner is None:
            return True
        kept = ""
        for image_id in [image_id for image_id in self._open if self.is_modified(image_id)]:
            try:
                self.keep_elsewhere(image_id)
                kept = " Your unsaved edits are kept, and offered when you open the folder again."
            except ExportError as error:
                kept = f" {error}"
        self._refuse_edits(f"{owner} took over the folder.{kept}")
        return False

    def _refuse_edits(self, reason: str) -> None:
        for opened in self._open.values():
            opened.refuse_edits(reason)
        self._writer.flush()  # before another window reads the journals
        self._right.give_up(reason)

    def check_mine(self) -> None:
        """Raise an `ExportError` unless this window may write into the project; reads the lock file."""
        if self.read_only:
            raise ExportError(f"{self.read_only} Nothing was saved here.")
        self._project.check_writable()

    # ---- the cells of an image ----

    def expect(self, image_id: str | None) -> None:
        """Announce the image that a worker reads before it opens here; no other worker may write it from now on."""
        self.assert_owner_thread()
        self._expected = image_id
        self._claim()

    def open(self, loaded: LoadedCells) -> ReviewSession:
        """Start the review of an image; every command is journalled.

        Raises
        ------
        ExportError
            The journal of recovered edits cannot be written.
        """
        self.assert_owner_thread()
        image_id, session = loaded.image_id, loaded.session
        if image_id in self._open:
            return self._open[image_id].session
        lost, kept = self._right.lost, self._project.kept_file(image_id)
        self._open[image_id] = open_image(self._project, loaded, None if lost else self._writer)
        self._claim()
        if lost:
            session.refusal = lost
        elif kept.exists() and (loaded.kept is not None or not loaded.recover):
            if loaded.kept is not None:
                session.restore(loaded.kept.replay(session.cells.values()), loaded.kept.text)
                session.describe(loaded.kept.about(session.about))
                self._writer.flush()
            set_aside_kept(kept)
        return session

    def open_session(
        self, image_id: str, image_size: tuple[int, int], classes: ClassTable | None = None, *, recover: bool = False
    ) -> ReviewSession:
        """Read the cells of an image here and open them; see `load_cells` and `open`."""
        if image_id in self._open:
            return self._open[image_id].session
        return self.open(load_cells(self.project, image_id, image_size, classes, recover=recover))

    def is_open(self, image_id: str) -> bool:
        """Return whether an image is under review here."""
        self.assert_owner_thread()
        return image_id in self._open

    def is_modified(self, image_id: str) -> bool:
        """Return whether an open image has unsaved changes; false again after all of them are undone."""
        return self.is_open(image_id) and self._open[image_id].is_modified

    def unsaved_edits(self, image_id: str) -> int:
        """Return the number of edits of an image since it was saved; 0 if undo returned to the saved state."""
        return self._open[image_id].unsaved_edits if self.is_modified(image_id) else 0

    def unsaved(self) -> dict[str, int]:
        """Return the number of edits that are neither saved nor kept elsewhere, by image."""
        self.assert_owner_thread()
        return {
            image_id: opened.unsaved_edits
            for image_id, opened in self._open.items()
            if opened.is_modified and opened.kept_state is not opened.session.state
        }

    def saved_at(self, image_id: str) -> float | None:
        """Return when an open image was saved, seconds since 1970; None if not since it was opened."""
        return self._open[image_id].saved_at if self.is_open(image_id) else None

    def status(self, image_id: str | None) -> SaveStatus:
        """Return a description of whether the edits of an image are saved."""
        is_open = image_id is not None and self.is_open(image_id)
        return status_of(
            read_only=self.read_only,
            problem=self.problem,
            unsaved=self.unsaved_edits(image_id) if image_id is not None else 0,
            saved_at=self.saved_at(image_id) if image_id is not None else None,
            is_open=is_open,
            damage=self._open[image_id].problem if is_open and image_id is not None else "",
            elsewhere=self._project.state_folder if self._project.is_elsewhere else None,
        )

    def summary(self, image_id: str) -> ImageSummary | None:
        """Count the present cells of an image; None if it was neither opened nor saved."""
        if self.is_open(image_id):
            return summary_of(self._open[image_id].session)
        return self._project.summary(image_id)

    def read(self, image_id: str) -> Annotations | None:
        """Return the present cells of an image, open or not, without opening it; None if it has no annotations yet.

        An image that was saved without a cell has annotations; one that was only viewed has none.

        Raises
        ------
        AnnotationError
            As `load_cells`.
        """
        if self.is_open(image_id):
            opened = self._open[image_id]
            if opened.session.cells or opened.is_modified or self._project.annotations_file(image_id) is not None:
                return opened.annotations()
        return self._project.read(image_id)

    def save(self, image_id: str, *, class_images: bool = False) -> None:
        """Write the annotations of an open image.

        With ``class_images``, also replace the user's own ``class*.tif`` and keep the old files as ``.bak``. To write
        those of a large image in a worker, call `Project.write_class_images` there, and this method afterwards.

        Raises
        ------
        ExportError
            Another viewer holds the folder, or the disk is full, ...; the journal then still has every change.
        """
        self.check_mine()
        opened = self._open[image_id]
        if class_images:
            self._project.write_class_images(image_id, opened.session.instances())
        opened.save(label_stamps(self._project.file(image_id)))

    def save_all(self) -> None:
        """Save all open images with unsaved edits.

        Raises
        ------
        ExportError
            As `save`; the images before the failed one are saved.
        """
        for image_id in tuple(self._open):
            if self.is_modified(image_id):
                self.save(image_id)

    def keep_elsewhere(self, image_id: str) -> Path:
        """Keep the unsaved edits of an open image in the user's data folder; they are offered when it opens again.

        Raises
        ------
        ExportError
            The edits cannot be written there either.
        """
        self.assert_owner_thread()
        opened, path = self._open[image_id], self._project.kept_file(image_id)
        if opened.kept_state is None:  # of an earlier review
            set_aside_kept(path)
        keep_edits(path, opened.unsaved_start(), opened.session, opened.unsaved_edits)
        opened.kept_state = opened.session.state
        return path

    def close_session(self, image_id: str) -> None:
        """End the review of an image; unsaved changes stay in its journal and are offered when it opens again."""
        self.assert_owner_thread()
        opened = self._open.pop(image_id, None)
        if opened is not None:
            opened.close()
            self._writer.flush()
            self._claim()

    def discard_changes(self, image_id: str) -> None:
        """End the review of an image and discard unsaved changes."""
        self.assert_owner_thread()
        opened = self._open.pop(image_id, None)
        if opened is not None:
            opened.close()
        self.discard(image_id)
        self._claim()

    def discard(self, image_id: str) -> None:
        """Discard the edits that `recoverable` returns; those kept elsewhere are renamed to ``.bak``."""
        if not self.read_only:
            self._writer.remove(journal_file(self._project.state_folder, image_id))
            self._writer.flush()
            set_aside_kept(self._project.kept_file(image_id))

    # ---- the end ----

    def close(self) -> None:
        """End all reviews, finish writing and release the folder; unsaved changes stay in the journals."""
        for image_id in tuple(self._open):
            self.close_session(image_id)
        if not self.read_only:
            self._refuse_edits("The folder is closed.")
        self._end()
        self._project.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    # ---- helpers ----

    def _claim(self) -> None:
        self._right.claim({*self._open, *([] if self._expected is None else [self._expected])})

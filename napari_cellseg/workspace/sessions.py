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
    read_annotations,
    read_header,
    summary_of,
    write_annotations,
)
from napari_cellseg.workspace.journal_writer import JournalWriter
from napari_cellseg.workspace.kept_edits import keep_edits
from napari_cellseg.workspace.labels import label_stamps
from napari_cellseg.workspace.open_image import OpenImage, begin_journal
from napari_cellseg.workspace.places import annotations_file, file_errors, journal_file, set_aside
from napari_cellseg.workspace.project import LoadedCells, Project, open_project
from napari_cellseg.workspace.project_file import write_classes
from napari_cellseg.workspace.status import SaveStatus, status_of

__all__ = ["Sessions", "taken_by"]


def taken_by(project: Project) -> str:
    """Return why the folder of a project cannot be edited, with the name of its holder; empty if it can."""
    if project.lease is None:
        return "The folder was opened for reading only."
    if project.lease.owner is not None:
        return f"Open in another viewer: {project.lease.owner}."
    other = project.lease.hold.editor
    return "" if other is None else f"Open in another window of this program: {other.window}."


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
        self._lost = ""
        self._start_editing(take_over=take_over)

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
        return self._lost

    @property
    def problem(self) -> str:
        """Why edits are not on disk at the moment; empty if they are."""
        return self._writer.problem

    def set_classes(self, classes: ClassTable) -> None:
        """Replace the class table of the project.

        Raises
        ------
        ExportError
            It cannot be written.
        """
        if classes != self.project.classes:
            self._project = replace(self._project, classes=classes)
            if not self._lost:
                write_classes(self._project.state_folder, classes)

    def show_listing(self, project: Project) -> None:
        """Use the images of `Project.relisted`; open reviews stay open."""
        self._project = replace(self.project, images=project.images)

    # ---- who edits ----

    def _start_editing(self, *, take_over: bool) -> None:
        lease = self._project.lease
        if lease is not None and take_over and lease.owner is None and lease.hold.editor is not None:
            lease.hold.editor.hand_over()
        self._lost = taken_by(self._project)
        if lease is not None and not self._lost:
            lease.hold.editor = self

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

        Returns
        -------
        bool
            Whether this window may still edit the folder.
        """
        self.assert_owner_thread()
        lease = self._project.lease
        if self._lost or lease is None:
            return False
        owner = lease.hold.lock.owner
        if owner is None or lease.hold.lock.is_mine:  # an unplugged drive does not tell who holds the folder
            return True
        unsaved = [image_id for image_id in self._open if self.is_modified(image_id)]
        kept = ""
        for image_id in unsaved:
            try:
                self.keep_elsewhere(image_id)
                kept = " Your unsaved edits are kept, and offered when you open the folder again."
            except ExportError as error:
                kept = f" {error}"
        self._refuse_edits(f"{owner} took over the folder.{kept}")
        return False

    def _refuse_edits(self, reason: str) -> None:
        self._lost = reason
        for opened in self._open.values():
            opened.refuse_edits(reason)
        self._writer.flush()
        lease = self._project.lease
        if lease is not None and lease.hold.editor is self:
            lease.hold.editor = None
            lease.hold.claims.set_window(frozenset())

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
        path, kept = journal_file(self._project.state_folder, image_id), self._project.kept_file(image_id)
        with file_errors(path.parent):
            if not self._lost:
                begin_journal(path, loaded.journal)
        self._open[image_id] = OpenImage(
            session,
            loaded.base,
            annotations_file=annotations_file(self._project.state_folder, image_id),
            journal_file=path,
            writer=None if self._lost else self._writer,
            saved=loaded.is_saved,
            recovered=loaded.journal is not None,
        )
        self._claim()
        if self._lost:
            session.refusal = self._lost
        elif kept.exists() and (loaded.kept is not None or not loaded.recover):
            if loaded.kept is not None:
                session.restore(loaded.kept.replay(session.cells.values()), loaded.kept.text)
                self._writer.flush()
            with file_errors(kept.parent):
                set_aside(kept)
        return session

    def open_session(
        self, image_id: str, image_size: tuple[int, int], classes: ClassTable | None = None, *, recover: bool = False
    ) -> ReviewSession:
        """Read the cells of an image here and open them; see `Project.load_cells` and `open`."""
        if image_id in self._open:
            return self._open[image_id].session
        return self.open(self.project.load_cells(image_id, image_size, classes, recover=recover))

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
            As `Project.load_cells`.
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
        self._check_mine()
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
        if opened.kept_state is None and path.exists():  # of an earlier review
            with file_errors(path.parent):
                set_aside(path)
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
        """Discard the edits that `Project.recoverable` returns; those kept elsewhere are renamed to ``.bak``."""
        if not self.read_only:
            self._writer.remove(journal_file(self._project.state_folder, image_id))
            self._writer.flush()
            kept = self._project.kept_file(image_id)
            if kept.exists():
                with file_errors(kept.parent):
                    set_aside(kept)

    # ---- the user's own label images ----

    def note_labels(self, image_id: str) -> None:
        """Record the present ``class*.tif`` of an image that is not open as those of its saved annotations.

        Raises
        ------
        ExportError
            As `save`.
        """
        self._check_mine()
        path = self._project.annotations_file(image_id)
        if path is not None:
            stamps = label_stamps(self._project.file(image_id))
            write_annotations(path, replace(read_annotations(path), labels=stamps), read_header(path).summary)

    def forget_annotations(self, image_id: str) -> None:
        """Restart from the ``class*.tif``: rename saved annotations to ``.bak``. The image must not be open."""
        self._check_mine()
        path = annotations_file(self._project.state_folder, image_id)
        if path.exists():
            with file_errors(path.parent):
                set_aside(path)
        self.discard(image_id)

    # ---- the end ----

    def close(self) -> None:
        """End all reviews, finish writing and release the folder; unsaved changes stay in the journals."""
        for image_id in tuple(self._open):
            self.close_session(image_id)
        if not self._lost:
            self._refuse_edits("The folder is closed.")
        self._end()
        self._project.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    # ---- helpers ----

    def _claim(self) -> None:
        lease = self._project.lease
        if lease is not None and lease.hold.editor is self:
            expected = frozenset() if self._expected is None else frozenset({self._expected})
            lease.hold.claims.set_window(expected | self._open.keys())

    def _check_mine(self) -> None:
        if self.read_only:
            raise ExportError(f"{self._lost} Nothing was saved here.")
        self._project.check_writable()

"""A folder of images as a project: who has it open, its classes, and the annotations of each image."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.images.read import ImageFile, list_images
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import ReviewSession, account_name
from napari_cellseg.workspace.annotations import (
    Annotations,
    ImageSummary,
    read_annotations,
    read_header,
    summary_of,
    write_annotations,
)
from napari_cellseg.workspace.journal import Journal, Recovery, read_journal
from napari_cellseg.workspace.journal_writer import JournalWriter
from napari_cellseg.workspace.labels import (
    annotations_from_labels,
    class_folder,
    label_stamps,
    labels_on_disk,
    long_enough,
)
from napari_cellseg.workspace.lock import FolderLock, LockOwner
from napari_cellseg.workspace.open_image import OpenImage
from napari_cellseg.workspace.places import annotations_file, file_errors, journal_file, set_aside, state_folder
from napari_cellseg.workspace.project_file import read_classes, write_classes

__all__ = ["Workspace"]


class Workspace:
    """A folder of images with its annotations, review state and journals, in ``<folder>/.cellseg``.

    When another viewer holds the folder, ``owner`` says who; images and annotations can then be looked at, and nothing
    is written. Use it from one thread, the one that uses the sessions; only `read`, `labels_on_disk`, `summary` and
    `write_class_images` may be called from others.

    Parameters
    ----------
    path : path
        A folder, as `image_io.list_images` takes it, or one image.
    user : str, optional
        Who works here; the name of the account when left out.
    take_over : bool
        Open it for writing even when another viewer holds it. That one can no longer save.

    Raises
    ------
    ImageReadError
        There is no image.
    AnnotationError
        The project's own files cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str], *, user: str | None = None, take_over: bool = False) -> None:
        self.path = Path(path)
        self.user = account_name() if user is None else user
        self.images: tuple[ImageFile, ...] = list_images(self.path)
        self.folder = self.path if self.path.is_dir() else self.path.parent
        self.state_folder = state_folder(self.folder)
        self._open: dict[str, OpenImage] = {}
        self._writer = JournalWriter()
        try:
            self.state_folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.state_folder / "lock.json", self.user)
            self.owner: LockOwner | None = self._lock.acquire(take_over=take_over)
        except OSError as error:
            raise AnnotationError(f"Cannot write into {self.state_folder}: {error.strerror or error}.") from error
        # At the end of the program too, when nobody closed it: write what is left, free the folder.
        self._end = weakref.finalize(self, _end, self._writer, self._lock)
        try:
            self._classes = read_classes(self.state_folder, self.folder)
        except AnnotationError:
            self._end()
            raise

    # ---- the project ----

    @property
    def read_only(self) -> bool:
        """Whether another viewer holds the folder."""
        return self.owner is not None

    @property
    def problem(self) -> str:
        """Why edits are not on disk at the moment, in words; empty when all is well."""
        return self._writer.problem

    @property
    def classes(self) -> ClassTable | None:
        """The class table of the project: the one set here, else that of ``classes.json``; None when there is none."""
        return self._classes

    @classes.setter
    def classes(self, classes: ClassTable) -> None:
        if classes != self._classes:
            self._classes = classes
            if not self.read_only:
                write_classes(self.state_folder, classes)

    def check_writable(self) -> None:
        """Raise an `ExportError` when another viewer holds the folder, or took it over."""
        self._check_mine()

    def refresh(self) -> None:
        """List the images again."""
        self.images = list_images(self.path)

    def file(self, image_id: str) -> ImageFile:
        """Return an image of the list.

        Raises
        ------
        AnnotationError
            There is none of this id.
        """
        for image in self.images:
            if image.image_id == image_id:
                return image
        raise AnnotationError(f"There is no image {image_id!r} in {self.path}.")

    def summary(self, image_id: str) -> ImageSummary | None:
        """Count the cells of an image without loading masks; None when it was never opened nor saved."""
        opened = self._open.get(image_id)
        if opened is not None:
            return summary_of(opened.session)
        path = annotations_file(self.state_folder, image_id)
        return read_header(path).summary if path.exists() else None

    # ---- the cells of an image ----

    def open_session(
        self, image_id: str, image_size: tuple[int, int], classes: ClassTable | None = None, *, recover: bool = False
    ) -> ReviewSession:
        """Begin to review an image; every command is journalled from now on.

        The cells are those saved, else those of the ``class*.tif`` beside the image (accepted), else none.

        Parameters
        ----------
        image_id : str
            Of `images`.
        image_size : (int, int)
            Height and width of the image, px.
        classes : ClassTable, optional
            The project's when left out; classes that cells have and the table does not are added.
        recover : bool
            With the edits that `recoverable` tells of. When left out they are set aside, as ``<journal>.bak``.

        Raises
        ------
        AnnotationError
            The annotations or label images are damaged, or for an image of another size.
        """
        if image_id in self._open:
            return self._open[image_id].session
        base, saved = self._base(image_id, image_size)
        cells, next_id = base.cells, base.next_id
        path = journal_file(self.state_folder, image_id)
        journal = self._unsaved(image_id) if recover else None
        if journal is not None:
            base = journal.begins_with() or base
            cells = journal.replay(base.cells)
        if not self.read_only and path.exists():
            with file_errors(path.parent):
                # Without its damaged tail; or aside, whatever it is: nothing a person did is removed.
                os.truncate(path, journal.end) if journal is not None else set_aside(path)
        table = long_enough(classes or self._classes or base.classes, base.classes, cells)
        session = ReviewSession(image_size, table, cells, user=self.user, next_id=next_id)
        session.set_min_scores(base.min_scores)
        self._open[image_id] = OpenImage(
            session,
            base,
            annotations_file=annotations_file(self.state_folder, image_id),
            journal_file=path,
            writer=None if self.read_only else self._writer,
            saved=saved,
            recovered=journal is not None,
        )
        return session

    def is_open(self, image_id: str) -> bool:
        """Whether an image is under review here."""
        return image_id in self._open

    def is_modified(self, image_id: str) -> bool:
        """Whether an open image has changes that are not saved; undoing all of them makes it false again."""
        return image_id in self._open and self._open[image_id].is_modified

    def saved_at(self, image_id: str) -> float | None:
        """Return when an open image was saved, seconds since 1970; None when it was not since it was opened."""
        return self._open[image_id].saved_at if image_id in self._open else None

    def save(self, image_id: str, *, class_images: bool = False) -> None:
        """Write the annotations of an open image.

        With ``class_images`` the user's own ``class*.tif`` too, the old ones kept as ``.bak``. To write those of a
        large image in a worker, call `write_class_images` there, and this afterwards.

        Raises
        ------
        ExportError
            Another viewer holds the folder, or the disk is full, ...; the journal then still has every change.
        """
        self._check_mine()
        opened = self._open[image_id]
        if class_images:
            self.write_class_images(image_id, opened.session.instances())
        opened.save(label_stamps(self.file(image_id)))

    def close_session(self, image_id: str) -> None:
        """End the review of an image; unsaved changes stay in its journal, and are offered when it is opened again."""
        opened = self._open.pop(image_id, None)
        if opened is not None:
            opened.close()
            self._writer.flush()

    def discard_changes(self, image_id: str) -> None:
        """End the review of an image and forget what is not saved."""
        opened = self._open.pop(image_id, None)
        if opened is not None:
            opened.close()
        self.discard(image_id)

    def read(self, image_id: str) -> Annotations | None:
        """Return the cells of an image as they are now, open or not, without opening it; None when it has none yet.

        An image that was saved without a cell has annotations; one that was only looked at has none.

        Raises
        ------
        AnnotationError
            As `open_session`.
        """
        opened = self._open.get(image_id)
        path = annotations_file(self.state_folder, image_id)
        if opened is not None and (opened.session.cells or opened.is_modified or path.exists()):
            return opened.annotations()
        if path.exists():
            return read_annotations(path)
        return annotations_from_labels(self.file(image_id), None, self._classes)

    # ---- recovery ----

    def recoverable(self, image_id: str) -> Recovery | None:
        """Return what was edited and not saved when a viewer ended, for an image that is not open.

        Raises
        ------
        AnnotationError
            The journal or the annotations cannot be read.
        """
        journal = None if image_id in self._open else self._unsaved(image_id)
        return None if journal is None else journal.recovery(image_id)

    def recoveries(self) -> Iterator[Recovery]:
        """Look through all images for edits that were not saved."""
        for image in self.images:
            found = self.recoverable(image.image_id)
            if found is not None:
                yield found

    def discard(self, image_id: str) -> None:
        """Forget the edits that `recoverable` tells of."""
        if not self.read_only:
            self._writer.remove(journal_file(self.state_folder, image_id))
            self._writer.flush()

    # ---- the user's own label images ----

    def class_folder(self, image_id: str) -> Path | None:
        """Return the folder for the ``class*.tif`` of an image: its own; None when it shares it with other images."""
        return class_folder(self.file(image_id))

    def labels_on_disk(self, image_id: str, image_size: tuple[int, int]) -> InstanceMasks | None:
        """Return the cells in the ``class*.tif`` of an image; None when there are none.

        Raises
        ------
        AnnotationError
            They are damaged, or of another size.
        """
        return labels_on_disk(self.file(image_id), image_size)

    def write_class_images(self, image_id: str, instances: InstanceMasks) -> tuple[Path, ...]:
        """Replace the ``class*.tif`` of an image; the old ones are kept as ``.bak``. Only at the user's wish.

        Raises
        ------
        ExportError
            Another viewer holds the folder, the image shares its folder with others, or a file cannot be written.
        """
        self._check_mine()
        folder = self.class_folder(image_id)
        if folder is None:
            raise ExportError(
                f"{self.file(image_id).path.name} has no folder of its own for class*.tif; export a training folder."
            )
        return write_class_images(folder, instances, keep="always")

    def note_labels(self, image_id: str) -> None:
        """Take the ``class*.tif`` of an image that is not open as they are now for those of its saved annotations.

        Raises
        ------
        ExportError
            As `save`.
        """
        self._check_mine()
        path = annotations_file(self.state_folder, image_id)
        if path.exists():
            stamps = label_stamps(self.file(image_id))
            write_annotations(path, replace(read_annotations(path), labels=stamps), read_header(path).summary)

    def labels_changed(self, image_id: str) -> bool:
        """Whether the ``class*.tif`` were changed, by another program say, after the annotations were saved."""
        path = annotations_file(self.state_folder, image_id)
        return path.exists() and read_header(path).labels != label_stamps(self.file(image_id))

    def forget_annotations(self, image_id: str) -> None:
        """Begin anew from the ``class*.tif``: set saved annotations aside as ``.bak``. The image must not be open."""
        self._check_mine()
        path = annotations_file(self.state_folder, image_id)
        if path.exists():
            with file_errors(path.parent):
                set_aside(path)
        self.discard(image_id)

    # ---- the end ----

    def close(self) -> None:
        """End all reviews, write what is left and free the folder; unsaved changes stay in the journals."""
        for image_id in tuple(self._open):
            self.close_session(image_id)
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    # ---- how ----

    def _base(self, image_id: str, image_size: tuple[int, int]) -> tuple[Annotations, bool]:
        """Return what a review begins with, and whether it is in the annotations file."""
        file = self.file(image_id)
        path = annotations_file(self.state_folder, image_id)
        if path.exists():
            return read_annotations(path, image_size), True
        base = annotations_from_labels(file, image_size, self._classes)
        assert base is not None  # the size is known
        return base, False

    def _unsaved(self, image_id: str) -> Journal | None:
        """Return the journal of an image if it has changes that the saved annotations do not have."""
        journal = read_journal(journal_file(self.state_folder, image_id))
        if journal is None or not journal.changes:
            return None
        path = annotations_file(self.state_folder, image_id)
        if path.exists():  # of another revision when a viewer was killed just after saving, or the file came back
            return journal if read_header(path).revision == journal.base else None
        return journal if journal.has_cells else None

    def _check_mine(self) -> None:
        if not self.read_only and not self._lock.is_mine:
            self.owner = self._lock.owner
            raise ExportError(f"Another viewer took over {self.folder}; nothing was saved here. Open the folder again.")
        if self.owner is not None:
            raise ExportError(f"{self.folder} is open in another viewer: {self.owner}. Close it there to save here.")


def _end(writer: JournalWriter, lock: FolderLock) -> None:
    writer.close()
    lock.release()

"""`Project`: a folder of images and their state on disk; a value that any thread may read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.images.listing import ImageFile, Skipped, find_images
from napari_cellseg.images.plane_images import all_planes
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.workspace.annotations import Annotations, ImageSummary, read_annotations, read_header
from napari_cellseg.workspace.holds import Lease, folder_key
from napari_cellseg.workspace.labels import (
    annotations_from_labels,
    class_folder,
    label_stamps,
    labels_on_disk,
)
from napari_cellseg.workspace.lock import LockOwner
from napari_cellseg.workspace.places import annotations_file, journal_file, state_folder, unsaved_folder

__all__ = ["Project"]


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder of images with its annotations, review state and journals, in ``<folder>/.cellseg``.

    Immutable, so that any thread may use it; the reviews are in `Sessions`. Another list of images or another class
    table is a new project with the same share in the lock.

    Attributes
    ----------
    path : Path
        The folder, or the one image, that was opened.
    folder : Path
        The folder with the images.
    state_folder : Path
        Folder of the project's own files.
    user : str
        Name of the user.
    images : tuple of ImageFile
    classes : ClassTable or None
        The classes of the project, else those of ``classes.json``.
    lease : Lease or None
        The share in the lock of the folder; None if the project is read-only.
    skipped : tuple of Skipped
        Files of the folder that look like an image or a mask but are not in ``images``.
    every_plane : bool
        Whether each plane of a stack is an image of the project.
    """

    path: Path
    folder: Path
    state_folder: Path
    user: str
    images: tuple[ImageFile, ...]
    classes: ClassTable | None
    lease: Lease | None
    skipped: tuple[Skipped, ...] = ()
    every_plane: bool = False

    # ---- the folder ----

    @property
    def owner(self) -> LockOwner | None:
        """The viewer of another process that held the folder when this project was opened."""
        return None if self.lease is None else self.lease.owner

    @property
    def is_elsewhere(self) -> bool:
        """Whether the folder cannot be written and the state is in the user's data folder instead."""
        return self.state_folder.parent != self.folder

    def is_at(self, path: Path) -> bool:
        """Return whether a path, however it is written, is that of this project."""
        return _same(self.path, path)

    def is_in(self, folder: Path) -> bool:
        """Return whether the images of this project are in a folder, however its path is written."""
        return _same(self.folder, folder)

    def check_writable(self) -> None:
        """Raise an `ExportError` unless this process holds the folder."""
        lease = self.lease
        if lease is None:
            raise ExportError(f"{self.folder} was opened for reading only.")
        if lease.owner is not None:
            raise ExportError(f"{self.folder} is open in another viewer: {lease.owner}. Close it there to save here.")
        if lease.hold.lock.is_mine:
            return
        try:
            by = lease.hold.lock.acquire()  # the lock file may have been removed
        except OSError as error:
            raise ExportError(f"Cannot write into {self.state_folder}: {error.strerror or error}.") from error
        if by is not None:
            raise ExportError(f"{by} took over {self.folder}. Nothing was saved here; open the folder again.")

    def relisted(self) -> Project:
        """Return the project with the present images of the folder, read with the same options.

        Raises
        ------
        ImageReadError
            The folder has no image any more.
        """
        listing = find_images(self.path)
        reading = {file.image_id: file.reading for file in self.images}
        images = all_planes(listing.images) if self.every_plane else listing.images
        as_before = tuple(file.read_as(before) if (before := reading.get(file.image_id)) else file for file in images)
        return replace(self, images=as_before, skipped=listing.skipped)

    def shared(self) -> Project:
        """Return the project with its own share in the lock, to be closed separately."""
        return replace(self, lease=None if self.lease is None else self.lease.share())

    def close(self) -> None:
        """Release the share in the lock."""
        if self.lease is not None:
            self.lease.close()

    # ---- the state of an image on disk ----

    def file(self, image_id: str) -> ImageFile:
        """Return an image of the project.

        Raises
        ------
        AnnotationError
            There is no image with this id.
        """
        for image in self.images:
            if image.image_id == image_id:
                return image
        raise AnnotationError(f"There is no image {image_id!r} in {self.path}.")

    def annotations_file(self, image_id: str) -> Path | None:
        """Return the path of the annotations of an image; None if there are none.

        The annotations of a read-only folder are written to the user's data folder; those in the folder itself are
        still read. Of two annotations files the newer one counts.
        """
        found = [annotations_file(place, image_id) for place in self._places()]
        found = [path for path in found if path.is_file()]
        if self.is_elsewhere or len(found) < 2:
            return found[0] if found else None
        return max(found, key=lambda path: path.stat().st_mtime_ns)

    def summary(self, image_id: str) -> ImageSummary | None:
        """Count the cells of an image without loading masks; None if it was never saved.

        Raises
        ------
        AnnotationError
            The annotations are damaged.
        """
        path = self.annotations_file(image_id)
        return None if path is None else read_header(path).summary

    def read(self, image_id: str) -> Annotations | None:
        """Return the cells of an image on disk; None if it has no annotations yet.

        Raises
        ------
        AnnotationError
            As `loading.load_cells`.
        """
        path = self.annotations_file(image_id)
        if path is not None:
            return read_annotations(path)
        return annotations_from_labels(self.file(image_id), None, self.classes)

    def base(self, image_id: str, image_size: tuple[int, int]) -> Annotations:
        """Return the saved cells of an image, else those of ``class*.tif``, else none.

        Raises
        ------
        AnnotationError
            As `loading.load_cells`.
        """
        path = self.annotations_file(image_id)
        if path is not None:
            return read_annotations(path, image_size)
        base = annotations_from_labels(self.file(image_id), image_size, self.classes)
        assert base is not None, "the size is known"
        return base

    def kept_file(self, image_id: str) -> Path:
        """Return the path of the edits of an image that could not be saved in the project."""
        return journal_file(unsaved_folder(self.folder), image_id)

    def slide_store(self, image_id: str) -> Path:
        """Return where the cells of a slide are, as `napari-cellseg predict --out` with this folder writes them."""
        folder = self.state_folder if self.is_elsewhere else self.folder
        return folder / "cells" / f"{image_id}.sqlite"

    # ---- the user's own label images ----

    def class_folder(self, image_id: str) -> Path | None:
        """Return the folder for the ``class*.tif`` of an image; None if other images share that folder."""
        return class_folder(self.file(image_id))

    def labels_on_disk(self, image_id: str, image_size: tuple[int, int]) -> InstanceMasks | None:
        """Return the cells in the ``class*.tif`` of an image; None when there are none.

        Raises
        ------
        AnnotationError
            They are damaged, or of another size.
        """
        return labels_on_disk(self.file(image_id), image_size)

    def labels_changed(self, image_id: str) -> bool:
        """Return whether the ``class*.tif`` changed after the annotations were saved, as by another program."""
        path = self.annotations_file(image_id)
        return path is not None and read_header(path).labels != label_stamps(self.file(image_id))

    def write_class_images(self, image_id: str, instances: InstanceMasks) -> tuple[Path, ...]:
        """Replace the ``class*.tif`` of an image, and keep the old files as ``.bak``. Only on the user's request.

        Raises
        ------
        ExportError
            Another viewer holds the folder, the image shares its folder with others, or a file cannot be written.
        """
        self.check_writable()
        folder = self.class_folder(image_id)
        if folder is None:
            raise ExportError(
                f"{self.file(image_id).path.name} has no folder of its own for class*.tif; export a training folder."
            )
        return write_class_images(folder, instances, keep="always")

    def _places(self) -> tuple[Path, ...]:
        """Return the possible paths of annotations, the one for writing first."""
        places = (self.state_folder, state_folder(self.folder, inside=True), state_folder(self.folder, inside=False))
        return tuple(dict.fromkeys(places))


def _same(first: Path, second: Path) -> bool:
    try:
        return first == second or folder_key(first) == folder_key(second)
    except OSError:  # one of them was removed
        return False

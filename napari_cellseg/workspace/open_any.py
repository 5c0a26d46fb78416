"""What opening a folder or an image does away from the window: generators without Qt, for `gui.opening`."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.coco import read_dataset
from napari_cellseg.formats.coco_images import read_image_ids
from napari_cellseg.formats.coco_results import read_results
from napari_cellseg.formats.ids import IDS_NAME, find_ids, short_names
from napari_cellseg.images.read import Image, ImageFile, read_tiff
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace import ImageSummary, Recovery, Workspace

__all__ = ["Imported", "LoadedImage", "OpenedFolder", "UnsavedEdits", "load_image", "open_folder"]


@dataclass(frozen=True)
class Imported:
    """Cells of a COCO file, by image_id; proposed for images that have no annotations yet."""

    source: str = ""
    cells: Mapping[str, InstanceMasks] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenedFolder:
    """A folder that was opened, and what its image list shows."""

    workspace: Workspace
    summaries: Mapping[str, ImageSummary | None]
    imported: Imported


@dataclass(frozen=True)
class LoadedImage:
    """An image with its cells, ready for the canvas."""

    file: ImageFile
    image: Image
    rgb: npt.NDArray[np.uint8]
    session: ReviewSession
    labels_changed: bool = False
    """Whether another program changed the ``class*.tif`` after the annotations were saved."""


@dataclass(frozen=True)
class UnsavedEdits:
    """An image with edits of a viewer that ended without saving; someone must say what to do with them."""

    file: ImageFile
    recovery: Recovery


def open_folder(path: Path, *, take_over: bool = False) -> Generator[None, None, OpenedFolder]:
    """Open an image, a folder of images, or a COCO file with its images.

    Raises
    ------
    CellSegError
        There is nothing to open, or it is damaged.
    """
    yield None
    imported, classes, folder = Imported(), None, path
    if path.suffix.lower() == ".json":
        imported, classes = read_coco(path)
        folder = path.parent
    workspace = Workspace(folder, take_over=take_over)
    try:
        yield None
        if classes is not None and workspace.classes is None:
            workspace.classes = classes
        summaries = {file.image_id: _summary(workspace, file.image_id) for file in workspace.images}
        yield None
    except BaseException:  # also when the user stopped it: the folder must not stay locked
        workspace.close()
        raise
    return OpenedFolder(workspace, summaries, imported)


def load_image(
    workspace: Workspace, file: ImageFile, imported: Imported, *, recover: bool | None = None
) -> Generator[None, None, LoadedImage | UnsavedEdits]:
    """Read an image and its cells.

    Parameters
    ----------
    workspace : Workspace
    file : ImageFile
    imported : Imported
        Cells to propose when the image has none.
    recover : bool, optional
        What to do with edits that were not saved: bring them back, or set them aside. When left out, and there are
        some, nothing is opened and `UnsavedEdits` is returned.

    Raises
    ------
    CellSegError
        The image or its annotations cannot be read.
    """
    yield None
    if recover is None and (recovery := workspace.recoverable(file.image_id)) is not None:
        return UnsavedEdits(file, recovery)
    image = read_tiff(file.path)
    yield None
    rgb = image.rgb()  # of 16-bit data that takes a while
    yield None
    is_new = workspace.summary(file.image_id) is None
    session = workspace.open_session(file.image_id, image.size, recover=bool(recover))
    cells = imported.cells.get(file.image_id)
    if is_new and not session.cells and cells is not None:
        try:
            session.load_proposals(cells, imported.source)
        except AnnotationError:
            workspace.close_session(file.image_id)
            raise
    return LoadedImage(file, image, rgb, session, workspace.labels_changed(file.image_id))


def read_coco(path: Path) -> tuple[Imported, ClassTable | None]:
    """Read a COCO data set, or results with the id file beside them.

    Raises
    ------
    AnnotationError
        It is neither, or damaged.
    """
    with path.open("rb") as file:
        is_results = file.read(64).lstrip().startswith(b"[")
    if not is_results:
        dataset = read_dataset(path)
        names = short_names(dataset.images)
        cells = {name: dataset.instances(image) for name, image in zip(names, dataset.images, strict=True)}
        return Imported(path.name, cells), dataset.classes
    ids_file = find_ids(path.parent)
    if ids_file is None:
        raise AnnotationError(
            f"{path.name} holds results. Put {IDS_NAME}, which gives the ids of its images, in the same folder."
        )
    ids = read_image_ids(ids_file)
    found = read_results(path, ids)
    return Imported(path.name, {name: found[image.id] for name, image in zip(short_names(ids), ids, strict=True)}), None


def _summary(workspace: Workspace, image_id: str) -> ImageSummary | None:
    try:
        return workspace.summary(image_id)
    except AnnotationError:  # told when the image is opened
        return None

"""Opening of folders and images outside the window's thread: generators without Qt, for `gui.opening`."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.formats.coco_images import read_image_ids
from napari_cellseg.formats.coco_results import read_results
from napari_cellseg.formats.damaged import heard_damage
from napari_cellseg.formats.ids import IDS_NAME, find_ids, short_names
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import Image, ImageFile
from napari_cellseg.images.slide_levels import SlideLevels, is_large, open_levels
from napari_cellseg.importers import Imported as Foreign
from napari_cellseg.importers import import_annotations
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted
from napari_cellseg.workspace import ImageSummary, LoadedCells, Project, Recovery, load_cells, open_project, recoverable
from napari_cellseg.workspace.labels import label_stamps

__all__ = [
    "Imported", "LoadedImage", "LoadedSlide", "OpenedFolder", "UnsavedEdits", "list_again", "load_image", "open_folder",
]  # fmt: skip

_ANNOTATIONS = (".json", ".geojson", ".xml", ".roi", ".npy", ".mat")


@dataclass(frozen=True)
class Imported:
    """Cells of an annotation file, by image_id; proposed for images that have no annotations yet.

    ``remarks`` state what was left out and why, one sentence each.
    """

    source: str = ""
    cells: Mapping[str, InstanceMasks] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OpenedFolder:
    """A folder that was opened or listed again, and the content of its image list."""

    project: Project
    summaries: Mapping[str, ImageSummary | None]
    imported: Imported
    classes: ClassTable | None = None
    """The classes of a COCO file, for a project without classes."""
    take_over: bool = False
    first: str = ""
    """The image to show first."""
    recovery: Recovery | None = None
    """Unsaved edits of that image."""
    problem: str = ""
    """The damaged files of the project, in words."""
    is_again: bool = False
    """Whether this is the folder that was already open, with its present images."""


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """An image with its cells, ready for the canvas; `Sessions.open` turns ``cells`` into a review."""

    file: ImageFile
    image: Image
    rgb: npt.NDArray[np.uint8]
    cells: LoadedCells
    proposals: InstanceMasks | None = None
    """Cells to propose for an image without annotations."""
    labels_changed: bool = False
    """Whether another program changed the ``class*.tif`` after the annotations were saved."""


@dataclass(frozen=True, eq=False)
class LoadedSlide:
    """An image that is too large for memory, open for reading by regions; its cells are in a file on disk."""

    file: ImageFile
    levels: SlideLevels
    store: Path
    """The file of the cells that the viewer predicts, or finds there; it may not exist."""


@dataclass(frozen=True)
class UnsavedEdits:
    """An image with edits of a viewer that ended without saving; the user must decide about them."""

    file: ImageFile
    recovery: Recovery


def open_folder(
    path: Path, *, take_over: bool = False, image_id: str | None = None, user: str | None = None
) -> Generator[None, None, OpenedFolder]:
    """Open an image, a folder of images, or an annotation file with its images; ``image_id`` is shown first.

    ``user`` is the name in the decisions; that of the account if left out.

    Raises
    ------
    CellSegError
        There is nothing to open, or it is damaged.
    """
    yield None
    if path.suffix.lower() == ".zip":
        raise AnnotationError(
            f"{path.name} is a zip. Unpack it, or run `napari-cellseg import` to convert it to a folder."
        )
    imported, classes, folder, foreign = Imported(), None, path, None
    if path.suffix.lower() in _ANNOTATIONS:
        if _is_results(path):
            imported, folder = _read_results(path), path.parent
        else:
            foreign = import_annotations(path)
            folder, classes = _folder_of(foreign), foreign.classes
    with heard_damage() as damage:
        project = open_project(folder, user=user, take_over=take_over)
    try:
        yield None
        if foreign is not None:
            imported = _by_id(foreign, project)
        classes = classes if project.classes is None else None
        summaries = {file.image_id: _summary(project, file.image_id) for file in project.images}
        yield None
        first = image_id if image_id in summaries else project.images[0].image_id
        assert first is not None
        recovery = None if project.owner is not None else _recovery(project, first)
        yield None
    except BaseException:  # also when the user stops the job: the folder must not stay locked
        project.close()
        raise
    return OpenedFolder(
        project=project,
        summaries=summaries,
        imported=imported,
        classes=classes,
        take_over=take_over,
        first=first,
        recovery=recovery,
        problem=" ".join(damage),
    )


def list_again(project: Project, imported: Imported) -> Generator[None, None, OpenedFolder]:
    """List the images of a folder that is open again.

    Raises
    ------
    ImageReadError
        The folder has no image any more.
    """
    yield None
    listed = project.relisted()
    yield None
    summaries = {file.image_id: _summary(listed, file.image_id) for file in listed.images}
    return OpenedFolder(project=listed, summaries=summaries, imported=imported, is_again=True)


def load_image(
    project: Project, file: ImageFile, imported: Imported, *, recover: bool | None = None
) -> Generator[None, None, LoadedImage | LoadedSlide | UnsavedEdits]:
    """Read an image and its cells, or open a slide that has no cells in the project's annotations.

    Parameters
    ----------
    project : Project
    file : ImageFile
    imported : Imported
        Cells to propose if the image has none.
    recover : bool, optional
        Whether to recover unsaved edits or to rename them to ``.bak``. If left out and there are unsaved edits,
        nothing is read and `UnsavedEdits` is returned, except in a folder that another viewer holds: the edits are
        that viewer's.

    Raises
    ------
    CellSegError
        The image or its annotations cannot be read.
    """
    yield None
    if project.lease is not None:
        project.lease.hold.claims.wait_until_written(file.image_id)
    may_recover = recover is None and project.owner is None
    with heard_damage() as damage:
        recovery = recoverable(project, file.image_id) if may_recover else None
    if recovery is not None:
        return UnsavedEdits(file, recovery)
    if file.image_id not in imported.cells and _is_slide(project, file):
        return LoadedSlide(
            file, open_levels(file.path, file.reading or ReadOptions()), project.slide_store(file.image_id)
        )
    image = read_image(file.path, options=file.reading)
    yield None
    rgb = image.rgb()  # slow for 16-bit data
    yield None
    is_new = project.summary(file.image_id) is None
    cells = load_cells(project, file.image_id, image.size, recover=bool(recover))
    if damage:
        cells = replace(cells, problem=" ".join([*damage, cells.problem]).strip())
    proposals = imported.cells.get(file.image_id) if is_new and not cells.session.cells else None
    return LoadedImage(
        file=file,
        image=image,
        rgb=rgb,
        cells=cells,
        proposals=proposals,
        labels_changed=project.labels_changed(file.image_id),
    )


def _is_slide(project: Project, file: ImageFile) -> bool:
    """Return whether an image is shown by regions: it is large, and no cells that need it in memory were saved."""
    if file.plane is not None or project.annotations_file(file.image_id) is not None or label_stamps(file):
        return False
    try:
        return is_large(file.path, file.reading or ReadOptions())
    except ImageReadError:
        return False  # reading it says why


def _is_results(path: Path) -> bool:
    """Return whether a JSON file starts like a list of results."""
    with path.open("rb") as file:
        head = file.read(256).lstrip()
    others = (b'"Feature"', b"geometry", b'"data"', b'"annotations"', b'"completions"')  # of QuPath and Label Studio
    return head.startswith(b"[") and not any(word in head for word in others)


def _read_results(path: Path) -> Imported:
    ids_file = find_ids(path.parent)
    if ids_file is None:
        raise AnnotationError(
            f"{path.name} holds results. Put {IDS_NAME}, which gives the ids of its images, in the same folder."
        )
    ids = read_image_ids(ids_file)
    found = read_results(path, ids)
    return Imported(path.name, {name: found[image.id] for name, image in zip(short_names(ids), ids, strict=True)})


def _folder_of(foreign: Foreign) -> Path:
    """Return the folder to open: the folder of all images, or the parent of their folders."""
    files = [image.path for image in foreign.images if image.path is not None]
    if not files:
        reasons = "; ".join(reason for reason, _ in foreign.reasons()) or "it lists none"
        raise AnnotationError(f"{foreign.source.name} has no image that can be opened: {reasons}.")
    homes = {file.parent.parent if file.stem.lower() == "image" else file.parent for file in files}
    return homes.pop() if len(homes) == 1 else Path(os.path.commonpath(homes))


def _by_id(foreign: Foreign, project: Project) -> Imported:
    """Assign the cells to the images of the folder by file; each image that is missing there becomes a remark."""
    ids = {file.path.resolve(): file.image_id for file in project.images}
    cells, remarks = {}, []
    for image in foreign.images:
        image_id = ids.get(image.path.resolve()) if image.path is not None else None
        if image_id is not None:
            cells[image_id] = image.cells
        elif len(image.cells):
            text = f"{image.name} is not among the images of {project.path}"
            remarks.append(f"{text}: {counted(len(image.cells), 'cell')} left out.")
    remarks += [f"{counted(count, 'annotation')} left out: {reason}." for reason, count in foreign.reasons()]
    return Imported(foreign.source.name, cells, (*remarks, *foreign.notes))


def _summary(project: Project, image_id: str) -> ImageSummary | None:
    try:
        return project.summary(image_id)
    except AnnotationError:
        return None


def _recovery(project: Project, image_id: str) -> Recovery | None:
    try:
        return recoverable(project, image_id)
    except AnnotationError:
        return None

"""The user's own label images, ``class*.tif`` next to an image: read as a start, written only on request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.label_images import class_files, read_class_images, to_instances
from napari_cellseg.images.listing import ImageFile, has_own_folder
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell, Status, cells_from
from napari_cellseg.workspace.annotations import Annotations, ImageSummary, LabelStamps, new_revision, summarise
from napari_cellseg.workspace.cell_lines import FROM_LABELS

__all__ = [
    "annotations_from_labels",
    "class_folder",
    "highest_label_class",
    "label_stamps",
    "labels_on_disk",
    "long_enough",
    "summary_of_labels",
]


def class_folder(file: ImageFile) -> Path | None:
    """Return the folder for the ``class*.tif`` of an image; None if other images or planes share that folder."""
    return file.path.parent if has_own_folder(file.path) and file.plane is None else None


def label_stamps(file: ImageFile) -> LabelStamps:
    """Return the size and time of each label image on disk."""
    folder = class_folder(file)
    paths = {} if folder is None else class_files(folder)
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths.values()}


def labels_on_disk(file: ImageFile, image_size: tuple[int, int] | None = None) -> InstanceMasks | None:
    """Return the cells in the label images; None when there are none.

    Raises
    ------
    AnnotationError
        They are damaged, or of another size.
    """
    folder = class_folder(file)
    if folder is None or not class_files(folder):
        return None
    label_images = read_class_images(folder, image_size)
    height, width = next(iter(label_images.values())).shape
    return to_instances(label_images, (height, width))


def annotations_from_labels(
    file: ImageFile, image_size: tuple[int, int] | None, classes: ClassTable | None
) -> Annotations | None:
    """Return the cells of the label images as given, or no cells; None if the size is unknown then."""
    labels = labels_on_disk(file, image_size)
    size = image_size if labels is None else labels.image_size
    if size is None:
        return None
    cells = [] if labels is None else cells_from(labels, Status.GIVEN, FROM_LABELS, file.path.stat().st_mtime)
    table = classes or ClassTable.numbered(1)
    table = long_enough(table, table, cells)
    return Annotations(
        image_size=size, classes=table, cells=tuple(cells), next_id=len(cells) + 1, revision=new_revision()
    )


def highest_label_class(files: Iterable[ImageFile]) -> int:
    """Return the highest class_id among the label images of some images; 0 without any. Reads names of files only."""
    highest = 0
    for folder in filter(None, map(class_folder, files)):
        with suppress(AnnotationError, OSError):  # reported when the image is opened
            highest = max(highest, *class_files(folder), highest)
    return highest


def summary_of_labels(file: ImageFile) -> ImageSummary | None:
    """Count the cells of the label images; None if there are none. Reads the files.

    Raises
    ------
    AnnotationError
        They are damaged.
    """
    labels = labels_on_disk(file)
    if labels is None:
        return None
    return summarise(cells_from(labels, Status.GIVEN, FROM_LABELS, 0.0), {})


def long_enough(table: ClassTable, more: ClassTable, cells: Sequence[Cell]) -> ClassTable:
    """Extend a table by the missing classes of cells, with their names from another table if it has them."""
    needed = max((cell.class_id for cell in cells), default=0)
    names = list(table.names)
    for class_id in range(len(names) + 1, needed + 1):
        name = more.names[class_id - 1] if class_id <= len(more) else f"class{class_id}"
        names.append(name if name not in names else f"{name} ({class_id})")
    return ClassTable(tuple(names), table.colours) if len(names) > len(table) else table

"""Writes an import as a training folder: one folder per image, and the class table."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile

from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ImageReadError
from napari_cellseg.formats.class_names import read_class_names
from napari_cellseg.formats.coco import CocoDataset, ImageId, read_dataset, write_dataset
from napari_cellseg.formats.ids import short_names
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.formats.layers import Covered, covered
from napari_cellseg.importers.image_files import read_pixels
from napari_cellseg.importers.result import Imported, ImportedImage
from napari_cellseg.instances import InstanceMasks

__all__ = ["EXACT_NAME", "LEFT_OUT_NAME", "WriteStep", "Written", "write_training_folder"]

EXACT_NAME, LEFT_OUT_NAME = "instances.json", "import-left-out.csv"
_TIFF = (".tif", ".tiff", ".svs", ".ndpi", ".scn")


@dataclass(frozen=True)
class WriteStep:
    """One image was written."""

    image: int
    images: int
    name: str


@dataclass(frozen=True)
class Written:
    """The written training folder.

    Attributes
    ----------
    classes : ClassTable
        The class table of the folder: its earlier classes, then new ones.
    covered : Covered
        The parts of overlapping cells of a class that label images cannot show; `EXACT_NAME` then has all cells whole.
    failed : tuple of (str, str)
        Images that could not be written, with the reason.
    """

    classes: ClassTable
    covered: Covered
    failed: tuple[tuple[str, str], ...]


def write_training_folder(result: Imported, folder: Path) -> Generator[WriteStep, None, Written]:
    """Write ``<id>/image.tif`` and ``class<k>.tif`` of each image, and ``classes.json``.

    TIFF images are copied unchanged, others are saved as TIFF without loss. Replaced files of the user are kept as
    ``.bak``.

    Raises
    ------
    ExportError
        A file cannot be written.
    ConfigError
        The folder's own ``classes.json`` is invalid.
    AnnotationError
        The ``instances.json`` of an earlier import into the folder is invalid.
    """
    classes, new_ids = _joined_classes(folder, result.classes)
    _make_folder(folder)
    total, failed, before = Covered(), [], _exact_before(folder)
    numbered = [ImageId(image.name, n, *image.size) for n, image in enumerate(result.images, start=1)]
    exact: dict[int, InstanceMasks] = {}
    rows: list[ImageId] = []
    for image, entry, name in zip(result.images, numbered, short_names(numbered), strict=True):
        home = folder / _folder_name(name)
        try:
            _write_image(image, home)
        except ImageReadError as error:
            failed.append((image.name, str(error)))
            continue
        cells = _with_classes(image.cells, new_ids)
        write_class_images(home, cells)
        total += covered(cells)
        exact[entry.id] = cells
        rows.append(ImageId(f"{home.name}/image.tif", entry.id, *image.size))
        yield WriteStep(entry.id, len(result.images), name)
    with export_write(folder / "classes.json") as file:
        file.write(json.dumps(classes.to_json(), ensure_ascii=False, indent=1).encode())
    if total.cells or before is not None:
        write_dataset(folder / EXACT_NAME, _with_earlier(CocoDataset(tuple(rows), classes, exact), before))
    if result.left_out:
        _write_left_out(result, folder / LEFT_OUT_NAME)
    return Written(classes, total, tuple(failed))


def _exact_before(folder: Path) -> CocoDataset | None:
    """Return the whole cells of an earlier import into the same folder."""
    path = folder / EXACT_NAME
    return read_dataset(path) if path.is_file() else None


def _with_earlier(dataset: CocoDataset, before: CocoDataset | None) -> CocoDataset:
    """Add the images of an earlier import that were not imported again; its classes are the first of the folder's."""
    if before is None or before.classes.names != dataset.classes.names[: len(before.classes)]:
        return dataset
    names, next_id = {image.file_name for image in dataset.images}, max((i.id for i in dataset.images), default=0) + 1
    images, cells = list(dataset.images), dict(dataset.cells)
    for number, image in enumerate((i for i in before.images if i.file_name not in names), start=next_id):
        images.append(replace(image, id=number))
        cells[number] = before.instances(image)
    return CocoDataset(tuple(images), dataset.classes, cells)


def _joined_classes(folder: Path, classes: ClassTable) -> tuple[ClassTable, dict[int, int]]:
    """Append new classes to those of the folder, so that its label images stay valid."""
    file = folder / "classes.json"
    known = read_class_names(file) if file.is_file() else None
    names = list(known.names) if known is not None else []
    colours = list(known.colours) if known is not None else []
    for _, name, colour in classes:
        if name not in names:
            names.append(name)
            colours.append(colour)
    joined = ClassTable(tuple(names), tuple(colours))
    return joined, {class_id: joined.class_id(name) for class_id, name, _ in classes}


def _with_classes(cells: InstanceMasks, new_ids: dict[int, int]) -> InstanceMasks:
    class_ids = np.array([new_ids[class_id] for class_id in cells.class_ids.tolist()], np.int32)
    return InstanceMasks(
        image_size=cells.image_size,
        boxes=cells.boxes,
        class_ids=class_ids,
        scores=cells.scores,
        masks=cells.masks,
        label_values=cells.values,
    )


def _folder_name(name: str) -> str:
    """Return a valid folder name on any system: ``slide1/tile_1`` is ``slide1__tile_1``."""
    plain = re.sub(r'[\\:*?"<>|\x00-\x1f]', "_", name.replace("/", "__")).strip(" .")
    return plain or "image"


def _make_folder(folder: Path) -> None:
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _write_image(image: ImportedImage, home: Path) -> None:
    target = home / "image.tif"
    _make_folder(home)
    if image.path is not None and image.path.exists() and target.exists() and target.samefile(image.path):
        return
    if image.path is not None and image.path.suffix.lower() in _TIFF:
        with image.path.open("rb") as source, export_write(target) as file:
            shutil.copyfileobj(source, file)
        return
    pixels = image.pixels() if image.pixels is not None else read_pixels(image.path) if image.path is not None else None
    if pixels is None:
        raise ImageReadError(f"{image.name} has neither a file nor pixels")
    colour = "rgb" if pixels.ndim == 3 else "minisblack"
    with export_write(target) as file:
        tifffile.imwrite(file, pixels, photometric=colour, compression="zlib", metadata=None)


def _write_left_out(result: Imported, path: Path) -> None:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["file", "row", "image", "reason"])
    rows.writerows([item.source, item.row, item.image, item.reason] for item in result.left_out)
    with export_write(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))

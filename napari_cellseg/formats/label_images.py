"""Converts `InstanceMasks` to and from one label image per class: ``class1.tif`` ... ``classK.tif``.

In a label image 0 is background and each other value is one cell. The file of a class without cells does not exist.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from napari_cellseg.atomic import Keep, export_set
from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.formats.label_checks import check_spread, looks_like_classes, split_advice
from napari_cellseg.images.read import read_raw
from napari_cellseg.instances import InstanceMasks

__all__ = [
    "LARGEST_VALUE",
    "class_file",
    "class_files",
    "from_instances",
    "read_class_images",
    "read_label_image",
    "to_instances",
    "write_class_images",
]

_OTHER_IMAGES = ("png", "jpg", "jpeg", "bmp", "gif", "npy")

LARGEST_VALUE = 2**53
"""Above this, float64 (the type on disk) cannot represent every whole number."""

LabelImage = npt.NDArray[np.int64]


def class_file(folder: str | os.PathLike[str], class_id: int) -> Path:
    """Return the path of the label image of a class: the existing file (``class1.TIFF``), else ``class1.tif``."""
    folder = Path(folder)
    existing = class_files(folder).get(class_id) if folder.is_dir() else None
    return folder / f"class{class_id}.tif" if existing is None else existing


def class_files(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """Return the label images of a folder, by class_id.

    Raises
    ------
    AnnotationError
        There is ``class0.tif`` (0 is the background), two files of one class, or a file that is not a TIFF.
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(folder).iterdir()):
        if not (match := re.fullmatch(r"class(\d+)\.(\w+)", path.name, re.IGNORECASE)):
            continue
        class_id, suffix = int(match[1]), match[2].lower()
        if suffix in _OTHER_IMAGES:
            raise AnnotationError(
                f"{path} is not a TIFF; the label image of a class is class{class_id}.tif. Import the folder with "
                "`napari-cellseg import`, which reads other formats too."
            )
        if suffix not in ("tif", "tiff"):
            continue
        if class_id == 0:
            raise AnnotationError(f"{path}: classes are numbered from 1; 0 is the background.")
        if class_id in found:
            raise AnnotationError(f"{found[class_id]} and {path} are both of class {class_id}; remove one.")
        found[class_id] = path
    return dict(sorted(found.items()))


def read_class_images(
    folder: str | os.PathLike[str], image_size: tuple[int, int] | None = None, count: int | None = None
) -> dict[int, LabelImage]:
    """Read the label images of a folder.

    Parameters
    ----------
    folder : path
    image_size : (int, int), optional
        Required height and width of all images, px; those of the first one if left out.
    count : int, optional
        Number of classes K; a file of a higher number is an error.

    Returns
    -------
    dict
        class_id to (H, W) int64.

    Raises
    ------
    AnnotationError
        A file that cannot be read, of another size, or with values that are not whole numbers from 0 on.
    """
    label_images: dict[int, LabelImage] = {}
    for class_id, path in class_files(folder).items():
        if count is not None and class_id > count:
            raise AnnotationError(f"{path} is of class {class_id}, but there are only {count} classes.")
        label_images[class_id] = label_image = read_label_image(path, image_size)
        image_size = image_size or label_image.shape
    return label_images


def _size(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def read_label_image(
    path: Path, image_size: tuple[int, ...] | None = None, remarks: list[str] | None = None
) -> LabelImage:
    """Read one label image, (H, W) int64; ``image_size`` is its required height and width.

    -1 is background, as some programs write it. Remarks about the file are added to ``remarks``, one sentence each.

    Raises
    ------
    AnnotationError
        As `read_class_images`.
    """
    try:
        values = read_raw(path, image_size)
    except ImageReadError as error:
        raise AnnotationError(str(error)) from error
    values = np.squeeze(values) if values.ndim > 2 else values
    if values.ndim != 2:
        raise AnnotationError(f"{path} has the shape {_size(values.shape)}; a label image has one value per pixel.")
    if values.dtype.kind not in "buif":
        raise AnnotationError(f"{path} has {values.dtype} pixels; labels are whole numbers.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise AnnotationError(f"{path} has values that are not numbers (NaN or infinite).")
    if values.size and values.min() < -1:
        raise AnnotationError(f"{path} has the value {values.min()}; labels are 0 (background) or above.")
    if values.size and values.min() < 0:
        values = np.where(values == -1, 0, values)
        if values.min() < 0:  # between -1 and 0
            raise AnnotationError(f"{path} has the value {values.min()}; labels are whole numbers.")
        if remarks is not None:
            remarks.append(f"{path}: the value -1 is background.")
    if values.size and values.max() > LARGEST_VALUE:
        raise AnnotationError(f"{path} has the value {values.max()}; labels go up to {LARGEST_VALUE}.")
    if image_size is not None and values.shape != tuple(image_size):
        raise AnnotationError(f"{path} has {_size(values.shape)} px; it must have {_size(image_size)} px.")
    label_image = values.astype(np.int64, copy=False)
    if values.dtype.kind == "f" and (fractions := label_image != values).any():
        raise AnnotationError(f"{path} has the value {values[fractions][0]}; labels are whole numbers.")
    if remarks is not None and (shape := looks_like_classes(label_image))[0]:
        remarks.append(f"{path}: {split_advice(*shape)}.")
    return label_image


def to_instances(label_images: Mapping[int, npt.NDArray[Any]], image_size: tuple[int, int]) -> InstanceMasks:
    """Return one cell for each value of each label image, whether its pixels are connected or not.

    Parameters
    ----------
    label_images : mapping
        class_id to (H, W) whole numbers, 0 for background.
    image_size : (int, int)
        Height and width, px.

    Returns
    -------
    InstanceMasks
        Sorted by class_id, then by value; ``label_values`` are the values; scores are 1.

    Raises
    ------
    AnnotationError
        A label image of another size.
    """
    parts = [InstanceMasks.empty(image_size)]
    for class_id, label_image in sorted(label_images.items()):
        if label_image.shape != tuple(image_size):
            raise AnnotationError(
                f"The label image of class {class_id} has {_size(label_image.shape)} px, the image {_size(image_size)}."
            )
        parts.append(_cells_of(label_image, class_id))
    return InstanceMasks.concatenate(parts)


def _cells_of(label_image: npt.NDArray[Any], class_id: int) -> InstanceMasks:
    cell_pixels = label_image != 0
    values, positions = np.unique(label_image[cell_pixels], return_inverse=True)
    compact = np.zeros(label_image.shape, np.int32)
    compact[cell_pixels] = positions + 1
    boxes, masks = [], []
    places = ndimage.find_objects(compact)
    try:
        check_spread(places, label_image)
    except AnnotationError as error:
        raise AnnotationError(f"The label image of class {class_id} cannot be read: {error}.") from None
    for number, (rows, columns) in enumerate(places, start=1):
        boxes.append((columns.start, rows.start, columns.stop, rows.stop))
        masks.append(compact[rows, columns] == number)
    count = len(values)
    return InstanceMasks(
        image_size=(label_image.shape[0], label_image.shape[1]),
        boxes=np.array(boxes, np.int32).reshape(-1, 4),
        class_ids=np.full(count, class_id, np.int32),
        scores=np.ones(count, np.float32),
        masks=tuple(masks),
        label_values=values.astype(np.int64),
    )


def from_instances(instances: InstanceMasks, class_ids: Iterable[int]) -> dict[int, npt.NDArray[Any]]:
    """Paint the cells of each class into one label image.

    A cell's value is its ``label_value``; if two cells of a class share a value, or it is below 1, the later cell
    gets the next free value. Where cells of a class overlap, the smaller is on top (`formats.layers` counts what that
    hides).

    Parameters
    ----------
    instances : InstanceMasks
    class_ids : iterable of int
        The classes to paint; a class without cells gives an image of zeros.

    Returns
    -------
    dict
        class_id to (H, W) int32 (int64 if a value needs it).
    """
    painted = {}
    for class_id in class_ids:
        cells = instances.select(instances.class_ids == class_id)
        values = _distinct(cells.values)
        wide = len(values) and values.max() > np.iinfo(np.int32).max
        painted[class_id] = cells.paste_smallest_on_top(values, np.int64 if wide else np.int32)
    return painted


def _distinct(values: LabelImage) -> LabelImage:
    firsts = np.zeros(len(values), bool)
    firsts[np.unique(values, return_index=True)[1]] = True
    again = ~firsts | (values < 1)
    if not again.any():
        return values
    distinct = values.copy()
    start = max(0, int(values.max())) + 1
    distinct[again] = np.arange(start, start + np.count_nonzero(again))
    return distinct


def write_class_images(
    folder: str | os.PathLike[str], instances: InstanceMasks, *, keep: Keep = "foreign"
) -> tuple[Path, ...]:
    """Write ``class<id>.tif`` (float64, Deflate) of each class with cells; remove those of classes without cells.

    No file is replaced or removed before all new ones are on disk.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    instances : InstanceMasks
    keep : Keep
        Which replaced or removed files are kept as ``class<id>.tif.bak``.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    ExportError
        The disk is full, the folder is read-only, ...
    """
    folder = Path(folder)
    present = sorted(set(instances.class_ids.tolist()))
    written = []
    with export_set(folder, keep=keep) as files:
        for class_id, label_image in from_instances(instances, present).items():
            path = class_file(folder, class_id)
            with files.open(path) as file:
                tifffile.imwrite(
                    file, label_image.astype(np.float64), compression="zlib", photometric="minisblack", metadata=None
                )
            written.append(path)
        for class_id, path in class_files(folder).items():
            if class_id not in present or path != class_file(folder, class_id):
                files.remove(path)
    return tuple(written)

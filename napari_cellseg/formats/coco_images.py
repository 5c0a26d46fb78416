"""The images of COCO files: their names, ids and sizes; and writing JSON."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.json_gate import read_json, short
from napari_cellseg.formats.rle import MAX_FRAME_PIXELS
from napari_cellseg.images.listing import has_own_folder

__all__ = ["ImageId", "check_unique", "image_id_of", "read_image_ids", "write_image_ids", "write_json"]


@dataclass(frozen=True)
class ImageId:
    """An image of a COCO file; ``height`` and ``width`` in px."""

    file_name: str
    id: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.height, self.width

    @property
    def image_id(self) -> str:
        """The image's name in a project: ``a.tif`` and ``a/image.tif`` are "a", ``slide/a.tif`` is "slide/a"."""
        name = PurePosixPath(self.file_name)
        own_folder = has_own_folder(name) and name.parent.name
        return str(name.parent if own_folder else name.with_suffix(""))


def read_image_ids(path: str | os.PathLike[str]) -> tuple[ImageId, ...]:
    """Read a list of ``{"file_name", "id", "height", "width"}`` (or the "images" of a COCO data set).

    Raises
    ------
    AnnotationError
        Not a list of images, a name that leads out of the folder, a repeated name or id, or an impossible size.
    """
    path = Path(path)
    data = read_json(path)
    rows = data.get("images") if isinstance(data, dict) else data
    if not isinstance(rows, list) or not rows:
        raise AnnotationError(f"{path}: expected a list of images, each with file_name, id, height and width.")
    images = tuple(image_id_of(row, f"{path}, entry {number}") for number, row in enumerate(rows, start=1))
    check_unique(images, path)
    return images


def image_id_of(row: object, where: str) -> ImageId:
    """Check one entry of a list of images; ``where`` starts the message of the `AnnotationError`."""
    if not isinstance(row, dict):
        raise AnnotationError(f"{where}: expected file_name, id, height and width, not {short(row)}.")
    name = row.get("file_name")
    if not isinstance(name, str) or not _stays_inside(name):
        raise AnnotationError(f"{where}: the file name {short(name)} is not a name inside the image folder.")
    numbers = {key: row.get(key) for key in ("id", "height", "width")}
    for key, value in numbers.items():
        if type(value) is not int or value < (0 if key == "id" else 1):
            raise AnnotationError(f"{where} ({name}): {key} must be a whole number, not {short(value)}.")
    image = ImageId(name, row["id"], row["height"], row["width"])
    if image.height * image.width > MAX_FRAME_PIXELS:
        raise AnnotationError(f"{where} ({name}): {image.height} x {image.width} px is larger than COCO can describe.")
    return image


def _stays_inside(name: str) -> bool:
    parts = name.split("/")
    return bool(name.strip()) and not any(
        part in ("", ".", "..") or any(c in part for c in '\\\0:"<>|?*') or not part.isprintable() for part in parts
    )


def check_unique(images: Sequence[ImageId], path: Path) -> None:
    """Raise an `AnnotationError` if two images share a file name or an id."""
    names: set[str] = set()
    ids: set[int] = set()
    for image in images:
        if image.id in ids:
            raise AnnotationError(f"{path}: the id {image.id} is used twice, the second time for {image.file_name}.")
        name = unicodedata.normalize("NFC", image.file_name)
        if name in names:
            raise AnnotationError(f"{path}: the file name {image.file_name} is listed twice.")
        ids.add(image.id)
        names.add(name)


def write_image_ids(path: str | os.PathLike[str], images: Iterable[ImageId]) -> None:
    """Write the list that `read_image_ids` reads.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    write_json(Path(path), [asdict(image) for image in images], indent=4)


def write_json(path: Path, data: Any, *, indent: int | None = None) -> None:
    """Write JSON atomically; NaN and infinity, which JSON lacks, raise a `ValueError`."""
    separators = None if indent else (",", ":")
    text = json.dumps(data, indent=indent, separators=separators, allow_nan=False, ensure_ascii=False)
    with export_write(path) as file:
        file.write(text.encode())

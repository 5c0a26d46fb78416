"""Find the images of a folder, and look at what a path is before anything opens it."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.options import ReadOptions

__all__ = ["ImageFile", "check_regular_file", "list_images", "natural_key"]

_HASH = re.compile(r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}(\..*)?")
"""A hexadecimal number with digits and letters, at least eight characters, with or without an ending."""


@dataclass(frozen=True)
class ImageFile:
    """An image of a file list.

    Attributes
    ----------
    image_id : str
        The file's name without suffix, or its folder's for ``image.tif``.
    path : Path
    reading : ReadOptions, optional
        How to read it; when left out as the model was trained, and by the defaults where there is no model.
    """

    image_id: str
    path: Path
    reading: ReadOptions | None = None


def check_regular_file(path: Path) -> None:
    """Raise an `ImageReadError` unless ``path`` is a regular file with something in it."""
    try:
        status = path.stat()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ImageReadError(f"Cannot read {path}: {reason}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageReadError(f"Cannot read {path}: it is a folder, not an image.")
    if not stat.S_ISREG(status.st_mode):
        raise ImageReadError(f"Cannot read {path}: it is a device, pipe or socket, not a file.")
    if not status.st_size:
        raise ImageReadError(f"Cannot read {path}: the file is empty.")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key under which "x2" comes before "x10"; a hash such as "0bf33d3d" sorts letter by letter."""
    name = name.casefold()
    if _HASH.fullmatch(name):  # its digits are no numbers: "0402..." would come after "06c..."
        return [(1, 0, name)]
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if i % 2 else (1, 0, part) for i, part in enumerate(parts)]


def list_images(path: str | os.PathLike[str]) -> tuple[ImageFile, ...]:
    """List the images of a file, a folder of ``<id>.tif``, of ``<id>/image.tif``, or one folder with ``image.tif``.

    ``class<number>.tif`` are label images and not listed; the order is natural ("x2" before "x10").

    Raises
    ------
    ImageReadError
        Nothing there, no image in the folder, or two images of one id.
    """
    path = Path(path)
    if not path.is_dir():
        check_regular_file(path)
        return (_image_file(path),)
    found = [_image_file(file) for file in _tiffs(path)]
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            found += [_image_file(file) for file in _tiffs(folder) if file.stem.lower() == "image"]
    if not found:
        raise ImageReadError(f"There is no TIFF in {path}, neither <name>.tif nor <name>/image.tif.")
    found.sort(key=lambda image: natural_key(image.image_id))
    for before, image in pairwise(found):
        if before.image_id == image.image_id:
            raise ImageReadError(f"{before.path} and {image.path} have the same id {image.image_id!r}; rename one.")
    return tuple(found)


def _image_file(path: Path) -> ImageFile:
    return ImageFile(path.resolve().parent.name if path.stem.lower() == "image" else path.stem, path)


def _tiffs(folder: Path) -> list[Path]:
    """Return the images of one folder: of a training folder ``image.tif`` only."""
    return [
        file
        for file in sorted(folder.iterdir())
        if re.fullmatch(r"[^.].*\.tiff?", file.name, re.IGNORECASE)
        and not re.fullmatch(r"class\d+\.tiff?", file.name, re.IGNORECASE)
        and file.is_file()
    ]

"""`image_stamp`: tells one large image from another without reading all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

__all__ = ["METADATA", "image_stamp"]

_HASHED_BYTES = 2**20
METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Files of an OME-Zarr that are no chunks."""


def image_stamp(path: Path) -> dict[str, Any]:
    """Return what tells one file from another without reading all of it: its size, and a hash of both ends.

    Of a folder (OME-Zarr): the size and hash of its metadata, and of the first and last chunk of each level.
    """
    files = [path] if path.is_file() else _telling(path)
    digest, total = hashlib.sha256(), 0
    for each in files:
        if each != path:
            digest.update(each.relative_to(path).as_posix().encode())
        size = each.stat().st_size
        total += size
        with each.open("rb") as file:
            digest.update(file.read(_HASHED_BYTES))
            file.seek(max(0, size - _HASHED_BYTES))
            digest.update(file.read(_HASHED_BYTES))
    return {"bytes": total, "sha256_of_ends": digest.hexdigest()}


def _telling(folder: Path) -> list[Path]:
    """Return the files of a folder that tell it from another; chunks deep inside are not listed."""
    levels = sorted(each for each in folder.iterdir() if each.name != "labels" and _is_array(each))
    found = [each / name for each in (folder, *levels) for name in METADATA]
    found += [end for level in levels for end in (_end(level, 0), _end(level, -1)) if end is not None]
    return [each for each in found if each.is_file()]


def _is_array(folder: Path) -> bool:
    """Return whether a folder is part of an OME-Zarr, and not, for example, of a project."""
    return any((folder / name).is_file() for name in METADATA)


def _end(folder: Path, place: int) -> Path | None:
    """Return the first or last chunk of a level by name."""
    while names := sorted(each.name for each in folder.iterdir() if each.name not in METADATA):
        folder = folder / names[place]
        if folder.is_file():
            return folder
    return None

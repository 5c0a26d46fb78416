"""Unpacks a zip of annotations, such as an export of CVAT, to a folder."""

from __future__ import annotations

import hashlib
import logging
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.zip_gate import opened_zip
from napari_cellseg.importers.image_index import is_image
from napari_cellseg.importers.unpacked_cache import cache_folder, mark_open, trim, unmark

__all__ = ["unpacked"]

_WANTED = (".json", ".geojson", ".xml", ".roi", ".zip", ".npy", ".mat", ".csv")
_MOST_BYTES = 2**34

logger = logging.getLogger(__name__)


def unpacked(path: Path) -> Path:
    """Return the folder, in the user's cache, of an unpacked zip; any other path, and a zip of ROIs, unchanged.

    The cache is trimmed afterwards; see `unpacked_cache`.

    Raises
    ------
    AnnotationError
        The zip is damaged or too large, or the disk is full.
    """
    if path.is_dir() or path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
        return path
    with opened_zip(path, most_bytes=_MOST_BYTES) as archive:
        if any(name.lower().endswith(".roi") for name in archive.names):
            return path
        status = path.stat()
        key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
        folder = cache_folder() / hashlib.sha256(key.encode()).hexdigest()[:16]
        mark_open(folder)
        if folder.is_dir():
            return folder
        members = [name for name in archive.names if _is_wanted(name)]
        if not members:
            raise AnnotationError(f"{path} contains neither annotations nor images.")
        partial = folder.with_name(folder.name + ".part")
        with _disk_errors(folder):
            if partial.exists():  # from an interrupted attempt
                shutil.rmtree(partial)
        for name in members:
            content = archive.read(name)
            with _disk_errors(folder):
                _write(partial.joinpath(*PurePosixPath(name).parts), content)
        with _disk_errors(folder):
            partial.rename(folder)
    for removed in trim():
        logger.info("removed the unpacked zip %s, which was not used for long", removed)
    return folder


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        shutil.rmtree(folder.with_name(folder.name + ".part"), ignore_errors=True)  # what fills the disk
        unmark(folder)
        raise AnnotationError(
            f"Cannot unpack into {folder.parent}: {error.strerror or error}. Unpack the zip yourself."
        ) from error


def _is_wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    inside = bool(parts) and not name.startswith("/") and "\\" not in name and ".." not in parts and ":" not in name
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return inside and not hidden and (is_image(Path(name)) or name.lower().endswith(_WANTED))

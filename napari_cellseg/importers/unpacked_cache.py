"""The folder of unpacked zips in the user's cache: bounded in size and age, and never emptied of what is in use."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import psutil

__all__ = [
    "MOST_BYTES",
    "MOST_DAYS",
    "UnpackedFolder",
    "cache_folder",
    "mark_open",
    "trim",
    "unmark",
    "unpacked_folders",
]

MOST_BYTES = 10 * 2**30
MOST_DAYS = 30
_MARK = ".open"


@dataclass(frozen=True)
class UnpackedFolder:
    """An unpacked zip.

    Attributes
    ----------
    path : Path
    size_bytes : int
    used_at : float
        When it was last used, seconds since 1970.
    is_kept : bool
        Whether it must stay: a running process uses it, or it holds the user's own annotations.
    """

    path: Path
    size_bytes: int
    used_at: float
    is_kept: bool


def cache_folder() -> Path:
    """Return the folder of all unpacked zips."""
    return platformdirs.user_cache_path("napari-cellseg") / "unpacked"


def mark_open(folder: Path) -> None:
    """Record that this process uses a folder, until it ends; without effect on a disk that cannot be written."""
    marks = _marks(folder)
    with suppress(OSError):
        marks.mkdir(parents=True, exist_ok=True)
        (marks / str(os.getpid())).write_text(repr(psutil.Process().create_time()))
        os.utime(marks)


def unmark(folder: Path) -> None:
    """Take back `mark_open`."""
    marks = _marks(folder)
    with suppress(OSError):
        (marks / str(os.getpid())).unlink(missing_ok=True)
        marks.rmdir()  # unless another process uses the folder


def trim(most_bytes: int = MOST_BYTES, most_days: float = MOST_DAYS) -> list[Path]:
    """Remove the folders that were not used for ``most_days``, then the oldest while all exceed ``most_bytes``."""
    folders = sorted(unpacked_folders(), key=lambda folder: folder.used_at)
    total = sum(folder.size_bytes for folder in folders)
    oldest = time.time() - most_days * 86_400
    removed = []
    for folder in folders:
        if folder.is_kept or (folder.used_at >= oldest and total <= most_bytes):
            continue
        shutil.rmtree(folder.path, ignore_errors=True)
        shutil.rmtree(_marks(folder.path), ignore_errors=True)
        total -= folder.size_bytes
        removed.append(folder.path)
    return removed


def unpacked_folders() -> Iterator[UnpackedFolder]:
    """Yield the unpacked zips, and what interrupted attempts left."""
    root = cache_folder()
    if not root.is_dir():
        return
    for path in root.iterdir():
        if path.suffix != _MARK and path.is_dir():
            marks = _marks(path)
            used_at = (marks if marks.is_dir() else path).stat().st_mtime
            is_kept = _is_open(marks) or any(path.rglob(".cellseg"))
            yield UnpackedFolder(path, _size(path), used_at, is_kept)


def _marks(folder: Path) -> Path:
    return folder.with_name(folder.name.removesuffix(".part") + _MARK)


def _is_open(marks: Path) -> bool:
    """Return whether a process that used the folder still runs; the number of an ended one may be used again."""
    for mark in marks.iterdir() if marks.is_dir() else ():
        with suppress(OSError, ValueError, psutil.Error):
            if abs(psutil.Process(int(mark.name)).create_time() - float(mark.read_text())) < 1:
                return True
    return False


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

"""`Level` and `StoredImage`: what a format gives so that its images can be read by regions."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.formats import FORMATS, format_of
from napari_cellseg.images.limits import MAX_BYTES
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.planes import Stack
from napari_cellseg.images.read import read_errors

__all__ = ["MAX_BLOCK_BYTES", "Box", "Level", "StoredImage", "by_region", "chosen_level", "open_stored"]

MAX_BLOCK_BYTES = 256 * 2**20
"""Largest decoded size of a tile, strip or chunk: reading one pixel of it takes as much memory."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1, px of a level, half-open."""


class Level(Protocol):
    """One resolution level of an image, as it is stored.

    Attributes
    ----------
    size : (int, int)
        Height and width, px.
    tile : (int, int)
        Height and width of the parts in which it is stored, px.
    nbytes : int
        Size in memory if it is read as a whole, with all planes.
    picture_bytes : int
        Size in memory of one plane with its colours.
    pixel_size_um : float or None
    problem : str
        Why it cannot be read by regions, as a clause; empty if it can.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    nbytes: int
    picture_bytes: int
    pixel_size_um: float | None
    problem: str

    def check(self) -> None:
        """Refuse, by the header alone, a level that is damaged or too large.

        Raises
        ------
        ImageReadError
            The message is a clause without the path.
        """
        ...

    def read(self, box: Box) -> tuple[npt.NDArray[Any], str]:
        """Return the pixels of a box inside the level, and their axes; not from two threads at a time.

        Raises
        ------
        ImageReadError
            A part is damaged. The message is a clause without the path.
        """
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredImage:
    """An open image of which nothing but the header is read; close it with ``close``.

    Attributes
    ----------
    path : Path
    levels : tuple of Level
        The finest first.
    close : callable
    stack : Stack, optional
        The stack from which `Level.read` takes one plane and channels, as a stand-in of one pixel.
    notes : callable
        Returns warnings about the file, as clauses; may take a second.
    """

    path: Path
    levels: tuple[Level, ...]
    close: Callable[[], None]
    stack: Stack | None = None
    notes: Callable[[], tuple[str, ...]] = tuple


def open_stored(path: str | os.PathLike[str], options: ReadOptions) -> StoredImage | None:
    """Open an image for reading by regions; None for a format that is always read as a whole.

    Raises
    ------
    ImageReadError
        The file does not exist, is not an image or is damaged, or its reader is not installed.
    """
    path = Path(path)
    known = format_of(path) or FORMATS[0]  # a file without a suffix may be a TIFF
    if not known.regions:
        return None
    if known.problem:
        raise ImageReadError(f"Cannot read {path}: {known.problem}.")
    opener: Callable[[Path, ReadOptions], StoredImage] = importlib.import_module(known.regions).open_stored
    return opener(path, options)


def chosen_level(stored: StoredImage, level: int | None) -> int:
    """Return the number of the level that is read: a chosen one, or the finest that fits into memory.

    Raises
    ------
    ImageReadError
        The image has no such level. The message lacks the path.
    """
    if level is None:
        return next((i for i, each in enumerate(stored.levels) if each.nbytes <= MAX_BYTES), 0)
    if not 0 <= level < len(stored.levels):
        raise ImageReadError(f"it has no resolution level {level}; there are {len(stored.levels)}, counted from 0")
    return level


def by_region(path: str | os.PathLike[str], options: ReadOptions, level: int | None) -> Level | None:
    """Return facts about the level that is read if it can be read by regions, else None; the file is closed again.

    Raises
    ------
    ImageReadError
        As `open_stored`, or the image has no such level.
    """
    stored = open_stored(path, options)
    if stored is None:
        return None
    try:
        with read_errors(stored.path):
            found = stored.levels[chosen_level(stored, level)]
    finally:
        stored.close()
    return None if found.problem else found

"""`Slide`: one resolution level of an image, read by regions, so that memory does not grow with the image."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.formats import LARGE_BYTES
from napari_cellseg.images.image import Image
from napari_cellseg.images.levels import Level, StoredImage, by_region, chosen_level, open_stored
from napari_cellseg.images.limits import MAX_BYTES
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.overview import overview_of, with_limits_note
from napari_cellseg.images.read import read_errors

__all__ = ["Slide", "has_regions", "is_slide", "open_slide", "opened_levels", "overview_of_file", "size_as_read"]

REGION_BYTES = LARGE_BYTES
"""Decoded size above which a prediction on the command line reads an image by regions."""
_COARSE_UM, _COARSE_PX = 4.1, 8
"""Largest pixel of a level in which glass is looked for, um, or px of the level that is read if its size is unknown."""


class Slide:
    """An image that is read by regions: ``slide[y0:y1, x0:x1]`` is (y1-y0, x1-x0, 3) uint8, from any thread.

    Attributes
    ----------
    shape : (H, W, 3)
    full_size : (int, int)
        Height and width of level 0, px.
    pixel_size_um : float or None
    overview : Image
        The slide at a lower resolution, or a sample of its tiles. Its brightness limits are those of every region.
    coarse : Slide or None
        The coarsest level in which a nucleus still has a pixel of its own; None if the file has no such level.
    """

    def __init__(
        self,
        level: Level,
        overview: Image,
        full_size: tuple[int, int],
        coarse: Level | None = None,
        *,
        lock: threading.Lock | None = None,
    ) -> None:
        self._level = level
        self._reading = lock or threading.Lock()  # a file has one position
        self.overview = overview
        self.pixel_size_um = level.pixel_size_um
        self.full_size = full_size
        self.shape = *level.size, 3
        self.coarse: Slide | None = None
        if coarse is not None:
            self.coarse = Slide(coarse, overview, full_size, lock=self._reading)

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of the tiles or strips of the file, px."""
        return self._level.tile

    def __getitem__(self, region: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        rows, columns = region
        y0, y1, _ = rows.indices(self.shape[0])
        x0, x1, _ = columns.indices(self.shape[1])
        with read_errors(self.overview.path), self._reading:
            pixels, axes = self._level.read((x0, y0, x1, y1))
        return self.overview.rgb_of(pixels, axes)


def is_slide(path: str | os.PathLike[str], options: ReadOptions) -> bool:
    """Return whether the chosen level of an image is too large for memory but can be read by regions.

    Raises
    ------
    ImageReadError
        As `open_stored`.
    """
    if options.level is None:
        return False  # without a level, the finest that fits into memory is read
    found = by_region(path, options, options.level)
    return found is not None and found.nbytes > MAX_BYTES


def has_regions(path: str | os.PathLike[str], options: ReadOptions, *, any_size: bool = False) -> bool:
    """Return whether the level of an image that is read can be, and should be, read by regions.

    Parameters
    ----------
    path : path
    options : ReadOptions
    any_size : bool
        Also for a small image, which is otherwise read as a whole.

    Raises
    ------
    ImageReadError
        As `open_stored`.
    """
    found = by_region(path, options, options.level)
    return found is not None and (any_size or found.picture_bytes > REGION_BYTES or found.nbytes > MAX_BYTES)


def size_as_read(path: str | os.PathLike[str], options: ReadOptions) -> tuple[int, int] | None:
    """Return height and width of the level that is read, px; None for a format without regions.

    Raises
    ------
    ImageReadError
        As `open_stored`.
    """
    stored = open_stored(path, options)
    if stored is None:
        return None
    try:
        with read_errors(stored.path):
            return stored.levels[chosen_level(stored, options.level)].size
    finally:
        stored.close()


@contextmanager
def open_slide(path: str | os.PathLike[str], options: ReadOptions) -> Iterator[Slide]:
    """Open the chosen level of an image, or the finest that fits into memory, for reading by regions.

    Raises
    ------
    ImageReadError
        As `open_stored`; or the image cannot be read by regions, or a tile is damaged.
    """
    stored, levels, overview = opened_levels(path, options, options.level)
    try:
        yield Slide(levels[0], overview, stored.levels[0].size, _coarse(levels))
    finally:
        stored.close()


def opened_levels(
    path: str | os.PathLike[str], options: ReadOptions, level: int | None
) -> tuple[StoredImage, Sequence[Level], Image]:
    """Return the open image, its levels from one on (the finest that fits into memory for None), and the overview.

    Raises
    ------
    ImageReadError
        As `open_stored`; or the level cannot be read by regions.
    """
    stored = open_stored(path, options)
    if stored is None:
        raise ImageReadError(f"Cannot read {path} by regions: save it as a tiled, pyramidal RGB TIFF.")
    try:
        with read_errors(stored.path):
            number = chosen_level(stored, level)
            levels = stored.levels[number:]
            if levels[0].problem:
                raise ImageReadError(levels[0].problem)
            levels[0].check()
            overview = overview_of(stored, levels, options, skipped=0 if level is not None else number)
        overview = with_limits_note(overview)
    except BaseException:
        stored.close()
        raise
    return stored, [each for each in levels if not each.problem], overview


def overview_of_file(path: str | os.PathLike[str], options: ReadOptions) -> Image | None:
    """Return the overview of the level that is read; None if the limits are chosen, or regions cannot be read.

    Raises
    ------
    ImageReadError
        As `open_stored`; or a tile is damaged.
    """
    if options.limits != "auto" or by_region(path, options, options.level) is None:
        return None
    stored, _, overview = opened_levels(path, options, options.level)
    stored.close()
    return overview


def _coarse(levels: Sequence[Level]) -> Level | None:
    """Return the coarsest level, of those after the first, whose pixels are at most as large as half a nucleus."""
    width, size_um = levels[0].size[1], levels[0].pixel_size_um
    most = _COARSE_PX if size_um is None else _COARSE_UM / size_um
    fine = [level for level in levels[1:] if width / level.size[1] <= most]
    return fine[-1] if fine else None

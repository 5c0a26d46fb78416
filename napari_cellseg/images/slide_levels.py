"""`SlideLevels`: all resolution levels of an image, read by regions at any size, for a view of a whole slide."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.levels import Box, Level, StoredImage, by_region
from napari_cellseg.images.limits import MAX_BYTES
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.slide import Slide, opened_levels

__all__ = ["SLIDE_PX", "SMALL_PX", "Picture", "SlideLevels", "is_large", "open_levels"]

SLIDE_PX = 64 * 2**20
"""Pixels above which the viewer shows an image by regions.

The image and four class layers of so many pixels take 1.5 GiB in memory: 3 bytes, and 5 for each class.
"""
SMALL_PX = 2048
"""Longest side of the picture of the whole slide."""
_MOST_READ_PX = 64 * 2**20
"""Most pixels that are decoded for one picture."""
_STRIP_PX = 4 * 2**20
"""Most pixels that are decoded between two looks whether the picture is still wanted."""
_UNREADABLE = 96
"""Grey of a tile that cannot be read."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """A part of a slide at some resolution.

    Attributes
    ----------
    rgb : (h, w, 3) uint8
    box : (x0, y0, x1, y1)
        What it shows, px of level 0; it may reach beyond the slide by less than a pixel of ``rgb``.
    factor : float
        Side of a pixel of ``rgb``, px of level 0.
    problems : tuple of str
        What cannot be read, each as a clause.
    """

    rgb: Pixels
    box: tuple[float, float, float, float]
    factor: float
    problems: tuple[str, ...] = ()


def is_large(path: str | os.PathLike[str], options: ReadOptions) -> bool:
    """Return whether an image has more than `SLIDE_PX`, or does not fit into memory, and can be read by regions.

    Raises
    ------
    ImageReadError
        As `open_stored`.
    """
    found = by_region(path, options, options.level or 0)
    return found is not None and (found.size[0] * found.size[1] > SLIDE_PX or found.nbytes > MAX_BYTES)


def open_levels(path: str | os.PathLike[str], options: ReadOptions) -> SlideLevels:
    """Open an image from a level on, the finest without a choice; close it with `SlideLevels.close`.

    Raises
    ------
    ImageReadError
        As `open_stored`; or the level cannot be read by regions.
    """
    stored, levels, overview = opened_levels(path, options, options.level or 0)
    return SlideLevels(stored, levels, overview)


class SlideLevels:
    """The levels of a slide; `picture` may be called from any thread.

    Attributes
    ----------
    path : Path
    size : (int, int)
        Height and width of the finest level, px.
    pixel_size_um : float or None
    overview : Image
        The slide at a lower resolution, or a sample of its tiles; its brightness limits are those of every picture.
    factors : tuple of float
        Side of a pixel of each level, px of the finest one, in ascending order.
    small : Picture or None
        All of the slide; None if the file has no level that is small enough.
    full_factor : float
        Side of a pixel of the finest level here, px of level 0 of the file.
    """

    def __init__(self, stored: StoredImage, levels: Sequence[Level], overview: Image) -> None:
        self._stored, self.overview = stored, overview
        self.path, self.pixel_size_um, self.size = stored.path, overview.pixel_size_um, levels[0].size
        self.full_factor = stored.levels[0].size[1] / self.size[1]
        reading = threading.Lock()
        self._levels = [Slide(level, overview, self.size, lock=reading) for level in levels]
        self.factors = tuple(self.size[1] / level.shape[1] for level in self._levels)
        whole = 0, 0, self.size[1], self.size[0]
        self.small = self.picture(whole, max(self.size) / SMALL_PX, most_px=4 * SMALL_PX**2)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each level, px, the finest first."""
        return [(level.shape[0], level.shape[1]) for level in self._levels]

    def level_for(self, factor: float) -> int:
        """Return the coarsest level whose pixels are at most about as large as ``factor``, px of the finest level."""
        fitting = [i for i, each in enumerate(self.factors) if each <= max(1.0, factor * 1.2)]
        return fitting[-1] if fitting else 0

    def picture(
        self, box: Box, factor: float, is_stale: Callable[[], bool] = lambda: False, *, most_px: int = _MOST_READ_PX
    ) -> Picture | None:
        """Read a part of the slide at about a resolution; a tile that is damaged becomes grey.

        Parameters
        ----------
        box : (x0, y0, x1, y1)
            px of the finest level; what lies outside the slide is left out.
        factor : float
            Wanted side of a pixel, px of the finest level.
        is_stale : callable
            Returns whether the picture is no longer wanted; asked every few milliseconds.
        most_px : int
            Most pixels to decode.

        Returns
        -------
        Picture or None
            None if it became stale, the part is empty, or more pixels would have to be decoded.
        """
        number = self.level_for(factor)
        level, side = self._levels[number], self.factors[number]
        step = max(1, int(factor / side + 0.2))
        height, width = level.shape[:2]
        x0, y0, x1, y1 = (round(value / side) for value in box)
        x0, y0 = max(0, x0 // step * step), max(0, y0 // step * step)
        x1, y1 = min(width, -(-x1 // step) * step), min(height, -(-y1 // step) * step)
        if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) > most_px:
            return None
        rgb = np.empty((-(-(y1 - y0) // step), -(-(x1 - x0) // step), 3), np.uint8)
        problems: list[str] = []
        for ya, yb in _strips(y0, y1, x1 - x0, level.tile[0], step):
            if is_stale():
                return None
            part, found = _read(level, (x0, ya, x1, yb))
            problems += found
            rgb[(ya - y0) // step : -(-(yb - y0) // step)] = _shrunk(part, step)
        shown = x0 * side, y0 * side, (x0 + rgb.shape[1] * step) * side, (y0 + rgb.shape[0] * step) * side
        return Picture(rgb, shown, side * step, tuple(problems))

    def read_region(self, level: int, box: Box) -> Pixels:
        """Return a box (x0, y0, x1, y1) of a level, px of it, as (h, w, 3) uint8.

        Raises
        ------
        ImageReadError
            A tile is damaged.
        """
        x0, y0, x1, y1 = box
        return self._levels[level][y0:y1, x0:x1]

    def pixel_size_of(self, level: int) -> float | None:
        """Return the pixel size of a level, um; None if the file does not state it."""
        return self._levels[level].pixel_size_um

    def close(self) -> None:
        """Close the file; no picture can be read afterwards."""
        self._stored.close()


def _strips(start: int, end: int, width: int, tile: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield rows from start to end in parts of about `_STRIP_PX`, which end between tiles and between blocks."""
    rows = max(tile, _STRIP_PX // max(width, 1) // tile * tile)
    top = start
    while top < end:
        bottom = max((top // rows + 1) * rows // step * step, top + step)
        yield top, min(bottom, end)
        top = bottom


def _read(level: Slide, box: Box) -> tuple[Pixels, list[str]]:
    """Return the pixels of a box, and what cannot be read; that becomes grey, tile by tile."""
    x0, y0, x1, y1 = box
    try:
        return level[y0:y1, x0:x1], []
    except ImageReadError:
        pass  # look which tiles are damaged
    rgb = np.full((y1 - y0, x1 - x0, 3), _UNREADABLE, np.uint8)
    problems = []
    height, width = level.tile
    for top in range(y0 // height * height, y1, height):
        for left in range(x0 // width * width, x1, width):
            ya, xa, yb, xb = max(top, y0), max(left, x0), min(top + height, y1), min(left + width, x1)
            try:
                rgb[ya - y0 : yb - y0, xa - x0 : xb - x0] = level[ya:yb, xa:xb]
            except ImageReadError as error:
                problems.append(str(error))
    return rgb, problems


def _shrunk(rgb: Pixels, step: int) -> Pixels:
    """Return the means of blocks of step x step px; those at the end may be smaller."""
    if step == 1:
        return rgb
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, -height % step), (0, -width % step), (0, 0)), mode="edge")
    total = np.zeros((padded.shape[0] // step, padded.shape[1] // step, 3), np.uint32)
    for y in range(step):
        for x in range(step):
            total += padded[y::step, x::step]
    means: Pixels = (total // (step * step)).astype(np.uint8)
    return means

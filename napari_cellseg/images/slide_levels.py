"""`SlideLevels`: all resolution levels of a tiled TIFF, read by regions at any size, for a view of a whole slide."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.listing import check_regular_file
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import read_errors, watched_log
from napari_cellseg.images.slide import Slide, levels_from, reads_by_region, tiled_level
from napari_cellseg.images.tags import to_colours

__all__ = ["SLIDE_PX", "SMALL_PX", "Picture", "SlideLevels", "is_large", "open_levels"]

SLIDE_PX = 64 * 2**20
"""Pixels above which the viewer shows a tiled image by regions.

The image and four class layers of so many pixels take 1.5 GiB in memory: 3 bytes, and 5 for each class.
"""
SMALL_PX = 2048
"""Longest side of the picture of the whole slide."""
_WHOLE_PX = 16 * 2**20
"""Most pixels of a level that is stored in strips, and so is kept in memory."""
_MOST_READ_PX = 64 * 2**20
"""Most pixels that are decoded for one picture."""
_STRIP_PX = 4 * 2**20
"""Most pixels that are decoded between two looks whether the picture is still wanted."""
_UNREADABLE = 96
"""Grey of a tile that cannot be read."""

Box = tuple[int, int, int, int]
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
    """Return whether an image is a TIFF of more than `SLIDE_PX` that can be read by regions.

    Raises
    ------
    ImageReadError
        As `read_tiff`.
    """
    found = tiled_level(path, options.level or 0)
    return found is not None and found[0] > SLIDE_PX


def open_levels(path: str | os.PathLike[str], options: ReadOptions) -> SlideLevels:
    """Open a tiled TIFF from a level on, the finest without a choice; close it with `SlideLevels.close`.

    Raises
    ------
    ImageReadError
        As `read_tiff`; or the level is not stored in tiles.
    """
    path = Path(path)
    check_regular_file(path)
    with ExitStack() as files, read_errors(path), watched_log():
        tif = files.enter_context(tifffile.TiffFile(path))
        series, full, overview = levels_from(tif, path, options, options.level or 0)
        levels = SlideLevels(tif, series, overview, full.imagewidth / series[0].keyframe.imagewidth)
        files.pop_all()
    return levels


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

    def __init__(self, tif: tifffile.TiffFile, series: Sequence[Any], overview: Image, full: float) -> None:
        self._tif, self.full_factor = tif, float(full)
        self.path, self.overview, self.pixel_size_um = overview.path, overview, overview.pixel_size_um
        page = series[0].keyframe
        self.size = int(page.imagelength), int(page.imagewidth)
        reading = threading.Lock()
        self._levels: list[Slide | _Whole] = []
        for each in series:
            if reads_by_region(each):
                self._levels.append(Slide(each.keyframe, overview, None, self.size, lock=reading))
            elif each.keyframe.imagelength * each.keyframe.imagewidth <= _WHOLE_PX:
                self._levels.append(_Whole(each.keyframe, overview, reading))
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

    def close(self) -> None:
        """Close the file; no picture can be read afterwards."""
        self._tif.close()


class _Whole:
    """A coarse level that is stored in strips: read as a whole when it is first needed."""

    def __init__(self, page: tifffile.TiffPage, overview: Image, reading: threading.Lock) -> None:
        self._page, self._overview, self._reading = page, overview, reading
        self._rgb: Pixels | None = None
        self.shape = int(page.imagelength), int(page.imagewidth), 3
        self.tile = self.shape[:2]

    def __getitem__(self, region: tuple[slice, slice]) -> Pixels:
        with self._reading:
            if self._rgb is None:
                with read_errors(self._overview.path), watched_log() as log:
                    page = self._page
                    pixels, axes = to_colours(np.asarray(page.asarray(maxworkers=1)), page.axes, page)
                    if log:
                        raise ImageReadError(f"its data is damaged ({log[0][1]})")
                self._rgb = self._overview.rgb_of(pixels, axes)
        return self._rgb[region]


def _strips(start: int, end: int, width: int, tile: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield rows from start to end in parts of about `_STRIP_PX`, which end between tiles and between blocks."""
    rows = max(tile, _STRIP_PX // max(width, 1) // tile * tile)
    top = start
    while top < end:
        bottom = max((top // rows + 1) * rows // step * step, top + step)
        yield top, min(bottom, end)
        top = bottom


def _read(level: Slide | _Whole, box: Box) -> tuple[Pixels, list[str]]:
    """Return the pixels of a box, and what cannot be read; that becomes grey, tile by tile."""
    x0, y0, x1, y1 = box
    try:
        return level[y0:y1, x0:x1], []
    except ImageReadError as error:
        if not isinstance(level, Slide):
            return np.full((y1 - y0, x1 - x0, 3), _UNREADABLE, np.uint8), [str(error)]
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

"""`Slide`: one resolution level of a tiled TIFF, read by regions, so that memory does not grow with the image."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.formats import FORMATS, format_of
from napari_cellseg.images.image import Image
from napari_cellseg.images.limits import MAX_BYTES, check_limits
from napari_cellseg.images.listing import check_regular_file
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import READ_ERRORS, choose_level, decoded_bytes, opened, read_errors, watched_log
from napari_cellseg.images.tags import pixel_size_um, to_colours

__all__ = ["Slide", "has_regions", "is_slide", "levels_from", "open_slide", "reads_by_region", "tiled_level"]

OVERVIEW_PX = 4096
"""Longest side of the picture that decides the brightness limits of a slide."""
REGION_BYTES = 32 * 2**20
"""Decoded size above which a prediction on the command line reads a tiled image by regions."""
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
        page: tifffile.TiffPage,
        overview: Image,
        size_um: float | None,
        full_size: tuple[int, int],
        coarse: tifffile.TiffPage | None = None,
        *,
        lock: threading.Lock | None = None,
    ) -> None:
        self._page = page
        self._reading = lock or threading.Lock()  # a file has one position
        self.overview = overview
        self.pixel_size_um = size_um
        self.full_size = full_size
        self.shape = int(page.imagelength), int(page.imagewidth), 3
        self.coarse: Slide | None = None
        if coarse is not None:
            self.coarse = Slide(coarse, overview, None, full_size, lock=self._reading)

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of the tiles of the file, px."""
        return int(self._page.tilelength), int(self._page.tilewidth)

    def __getitem__(self, region: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        rows, columns = region
        y0, y1, _ = rows.indices(self.shape[0])
        x0, x1, _ = columns.indices(self.shape[1])
        with read_errors(self.overview.path), self._reading, watched_log() as log:
            pixels, axes = to_colours(_read_region(self._page, (y0, x0, y1, x1)), self._page.axes, self._page)
            if log:  # some damage is only logged, and the pixels stay black
                raise ImageReadError(f"its data is damaged near x {x0}, y {y0} px ({log[0][1]})")
        return self.overview.rgb_of(pixels, axes)


def is_slide(path: str | os.PathLike[str], options: ReadOptions) -> bool:
    """Return whether the chosen level of a TIFF is too large for memory but can be read by regions.

    Raises
    ------
    ImageReadError
        As `read_tiff`.
    """
    if options.level is None:
        return False  # without a level, the finest that fits into memory is read
    found = tiled_level(path, options.level)
    return found is not None and found[1] > MAX_BYTES


def has_regions(path: str | os.PathLike[str], options: ReadOptions, *, any_size: bool = False) -> bool:
    """Return whether a file is a TIFF of which the level that is read can be, and should be, read by regions.

    Parameters
    ----------
    path : path
    options : ReadOptions
    any_size : bool
        Also for a small image, which is otherwise read as a whole.

    Raises
    ------
    ImageReadError
        As `read_tiff`.
    """
    found = tiled_level(path, options.level)
    return found is not None and (any_size or found[1] > REGION_BYTES)


def tiled_level(path: str | os.PathLike[str], level: int | None) -> tuple[int, int] | None:
    """Return the pixels and the decoded bytes of a level of a TIFF that can be read by regions; None for other files.

    Parameters
    ----------
    path : path
    level : int, optional
        The finest that fits into memory, if left out.

    Raises
    ------
    ImageReadError
        As `read_tiff`.
    """
    known = format_of(Path(path))
    if known is not None and known.module != FORMATS[0].module:
        return None
    with opened(Path(path)) as (tif, _):
        series, _ = choose_level(tif, level)
        page = series.keyframe
        if not reads_by_region(series):
            return None
        return int(page.imagelength) * int(page.imagewidth), decoded_bytes(series)


@contextmanager
def open_slide(path: str | os.PathLike[str], options: ReadOptions) -> Iterator[Slide]:
    """Open the chosen level of a tiled TIFF, or the finest that fits into memory, for reading by regions.

    Raises
    ------
    ImageReadError
        As `read_tiff`; or the image is not stored in tiles, or a tile is damaged.
    """
    path = Path(path)
    check_regular_file(path)
    with ExitStack() as files:
        with read_errors(path), watched_log():  # and not around the work of the caller, whose errors are others
            tif = files.enter_context(tifffile.TiffFile(path))
            levels, full, overview = levels_from(tif, path, options, options.level)
            size_um, full_size = overview.pixel_size_um, (int(full.imagelength), int(full.imagewidth))
            slide = Slide(levels[0].keyframe, overview, size_um, full_size, _coarse(levels, size_um))
        yield slide


def levels_from(
    tif: tifffile.TiffFile, path: Path, options: ReadOptions, level: int | None
) -> tuple[Sequence[Any], tifffile.TiffPage, Image]:
    """Return the levels from one on (the finest that fits into memory for None), the page of level 0, and the overview.

    Raises
    ------
    ImageReadError
        As `read_tiff`; or the level is not stored in tiles.
    """
    series, full = choose_level(tif, level)
    page = series.keyframe
    if not reads_by_region(series):
        raise ImageReadError(
            "it is not one plane of 8- or 16-bit values in tiles; save it as a tiled, pyramidal RGB TIFF"
        )
    check_limits(series, page, path.stat().st_size, by_region=True)
    size_um = pixel_size_um(tif, full.keyframe)
    if size_um is not None:
        size_um *= float(full.keyframe.imagewidth / page.imagewidth)
    skipped = full.levels.index(series)
    levels = full.levels[skipped:]
    pixels, axes = _overview(levels)
    overview = Image(
        pixels=pixels,
        axes=axes,
        pixel_size_um=size_um,
        path=path,
        options=options,
        levels_skipped=0 if level is not None else skipped,
    )
    return levels, full.keyframe, overview


def reads_by_region(series: Any) -> bool:
    """Return whether a level is one plane in tiles, and each pixel has the same colour in every region.

    The whole image decides how more than 8 bits are inverted, when colours are divided by alpha, and what NaN becomes.
    """
    page = series.keyframe
    is_inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.dtype.itemsize > 1
    is_local = page.dtype.kind in "bu" and not is_inverted and tifffile.EXTRASAMPLE.ASSOCALPHA not in page.extrasamples
    return bool(page.is_tiled and len(series.pages) == 1 and page.axes in ("YX", "YXS") and is_local)


def _coarse(levels: Sequence[Any], size_um: float | None) -> Any:
    """Return the coarsest level, of those after the first, whose pixels are at most as large as half a nucleus."""
    width = levels[0].keyframe.imagewidth
    most = _COARSE_PX if size_um is None else _COARSE_UM / size_um
    fine = [level for level in levels[1:] if width / level.keyframe.imagewidth <= most and reads_by_region(level)]
    return fine[-1].keyframe if fine else None


def _overview(levels: Sequence[Any]) -> tuple[npt.NDArray[Any], str]:
    """Return pixels and axes of the finest level that is small; without one, tiles from all over the coarsest."""
    small = [level for level in levels if max(level.keyframe.shape[:2]) <= OVERVIEW_PX]
    page = (small or levels[-1:])[0].keyframe
    if not page.is_tiled:  # a small level is often stored in strips
        return to_colours(np.asarray(page.asarray(maxworkers=1)), page.axes, page)
    height, width = page.shape[:2]
    rows = [
        np.concatenate([_read_region(page, (y0, x0, y1, x1)) for x0, x1 in _spread(width, int(page.tilewidth))], axis=1)
        for y0, y1 in _spread(height, int(page.tilelength))
    ]
    return to_colours(np.concatenate(rows), page.axes, page)


def _spread(length: int, tile: int) -> list[tuple[int, int]]:
    """Return start and end of tiles along a side: all of them up to `OVERVIEW_PX`, else as many evenly spread."""
    tiles = -(-length // tile)
    chosen = np.unique(np.linspace(0, tiles - 1, max(1, min(tiles, OVERVIEW_PX // tile))).astype(int))
    return [(int(i) * tile, min((int(i) + 1) * tile, length)) for i in chosen]


def _read_region(page: Any, box: tuple[int, int, int, int]) -> npt.NDArray[Any]:
    """Decode the tiles that a box (y0, x0, y1, x1) touches, and return its pixels as they are stored."""
    y0, x0, y1, x1 = box
    height, width = int(page.tilelength), int(page.tilewidth)
    across = -(-int(page.imagewidth) // width)
    region = np.zeros((y1 - y0, x1 - x0, *page.shape[2:]), page.dtype)
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if _is_jpeg(page) else {}
    for row in range(y0 // height, -(-y1 // height)):
        for column in range(x0 // width, -(-x1 // width)):
            index = row * across + column
            offset, count = page.dataoffsets[index], page.databytecounts[index]
            if not offset or not count:  # a blank part of the slide
                continue
            page.parent.filehandle.seek(offset)
            data = page.parent.filehandle.read(count)
            top, left = row * height, column * width
            try:
                tile = page.decode(data, index, _fullsize=True, **tables)[0]
            except READ_ERRORS as error:
                raise ImageReadError(f"its data is damaged near x {left}, y {top} px ({error})") from error
            if tile is None:
                continue
            ys, xs = max(top, y0), max(left, x0)
            ye, xe = min(top + height, y1), min(left + width, x1)
            part = tile[0, ys - top : ye - top, xs - left : xe - left]
            region[ys - y0 : ye - y0, xs - x0 : xe - x0] = part.reshape(part.shape[:2] + region.shape[2:])
    return region


def _is_jpeg(page: Any) -> bool:
    return int(page.compression) in (6, 7, 33007, 34892)

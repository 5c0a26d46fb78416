"""Reads the levels of a TIFF by regions: tiles and strips, with the colours of a pixel together or in planes."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.levels import MAX_BLOCK_BYTES, Box, Level, StoredImage
from napari_cellseg.images.limits import check_limits
from napari_cellseg.images.listing import check_regular_file
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import READ_ERRORS, choose_level, decoded_bytes, read_errors, watched_log
from napari_cellseg.images.tags import pixel_size_um, to_colours
from napari_cellseg.images.zarr_levels import ZarrLevel, stack_of

__all__ = ["TiffLevel", "open_stored", "opened_raw"]

_CACHE_BYTES = 256 * 2**20
"""Decoded strips that are kept: a region is narrower than a strip, and the next one needs the same strips."""
_READ_BYTES = 2**18
"""Height of the parts of an uncompressed strip, bytes; any row of it can be read."""

Pixels = npt.NDArray[Any]


def open_stored(path: Path, options: ReadOptions) -> StoredImage:
    """Open the first image of a TIFF; see `images.levels.open_stored`."""
    check_regular_file(path)
    with ExitStack() as files, read_errors(path), watched_log():
        tif = files.enter_context(tifffile.TiffFile(path))
        _, full = choose_level(tif, 0)
        size_um = pixel_size_um(tif, full.keyframe)
        sides = [float(full.keyframe.imagewidth / series.keyframe.imagewidth) for series in full.levels]
        sizes_um = [None if size_um is None else size_um * side for side in sides]
        stack, levels = None, _stack_levels(full, options, sizes_um)
        if levels:
            stack = stack_of(full.shape, full.axes, options)
        else:
            strips = _Strips()
            levels = [TiffLevel(series, um, strips) for series, um in zip(full.levels, sizes_um, strict=True)]
        close = files.pop_all().close
    return StoredImage(path=path, levels=tuple(levels), close=close, stack=stack)


def _stack_levels(full: Any, options: ReadOptions, sizes_um: Sequence[float | None]) -> list[Level]:
    """Return the levels of a stack of grey planes, read through tifffile's Zarr store; empty for another image."""
    page = full.keyframe
    is_stack = len(full.pages) > 1 or math.prod(full.shape) != math.prod(page.shape)
    is_grey = page.photometric == tifffile.PHOTOMETRIC.MINISBLACK and page.axes == "YX" and full.axes.endswith("YX")
    is_plain = page.dtype.kind == "u" and page.bitspersample == 8 * page.dtype.itemsize
    if not (is_stack and is_grey and is_plain) or len(set(full.axes)) < len(full.axes) or find_spec("zarr") is None:
        return []
    import zarr

    try:
        arrays = [zarr.open_array(full.aszarr(level=i), mode="r") for i in range(len(full.levels))]
    except (*READ_ERRORS, NotImplementedError):  # an older tifffile, or pages that differ
        return []
    return [
        ZarrLevel(array, full.axes, options, um, check=partial(_check, series))
        for array, series, um in zip(arrays, full.levels, sizes_um, strict=True)
    ]


def _check(series: Any) -> None:
    """Refuse a level that is cut off, or too large."""
    check_limits(series, series.keyframe, series.keyframe.parent.filehandle.size, by_region=True)


@contextmanager
def opened_raw(path: Path) -> Iterator[TiffLevel]:
    """Open a label image for `TiffLevel.read_raw`: one plane of one value per pixel, of any type.

    Raises
    ------
    ImageReadError
        The file cannot be read, or not by regions.
    """
    check_regular_file(path)
    with ExitStack() as files:
        with read_errors(path), watched_log():
            tif = files.enter_context(tifffile.TiffFile(path))
            series = choose_level(tif, 0)[0]
            level = TiffLevel(series, None, _Strips())
            if not level.is_one_plane or series.keyframe.axes != "YX":
                raise ImageReadError(f"it has the axes {series.axes}; a label image has one value per pixel")
            if level.large_strip:
                raise ImageReadError(level.large_strip)
            level.check()
        yield level


class TiffLevel:
    """A level of a TIFF; see `images.levels.Level`."""

    def __init__(self, series: Any, size_um: float | None, strips: _Strips) -> None:
        page = series.keyframe
        self._series, self._page, self._strips = series, page, strips
        self.size = int(page.imagelength), int(page.imagewidth)
        self.nbytes = self.picture_bytes = decoded_bytes(series)
        self.pixel_size_um = size_um
        self._planes = page.shape[0] if page.axes == "SYX" else 1
        rows = max(1, min(int(page.rowsperstrip), self.size[0]))
        self._strip_rows = rows
        self._samples: tuple[int, ...] = page.shape[2:] if page.axes == "YXS" else ()
        row_bytes = self.size[1] * math.prod(self._samples) * page.dtype.itemsize
        self._is_plain = not page.is_tiled and _is_plain(page)
        if page.is_tiled:
            self.tile = int(page.tilelength), int(page.tilewidth)
        else:
            most = _READ_BYTES // max(row_bytes, 1) if self._is_plain else rows
            self.tile = max(1, min(rows, most)), self.size[1]
        self.is_one_plane = len(series.pages) == 1 and math.prod(series.shape) == math.prod(page.shape)
        self.large_strip = "" if page.is_tiled or self._is_plain else _large_strip(rows * row_bytes)
        self.problem = _problem(page, is_one_plane=self.is_one_plane) or self.large_strip

    def check(self) -> None:
        """Refuse a level that is cut off, or too large."""
        _check(self._series)

    def read(self, box: Box) -> tuple[Pixels, str]:
        """Decode the tiles or strips that a box touches; those without data stay black."""
        page = self._page
        with watched_log() as log:
            planes = [self._plane(number, box) for number in range(self._planes)]
            pixels, axes = to_colours(planes[0] if page.axes != "SYX" else np.stack(planes), page.axes, page)
            if log:  # some damage is only logged, and the pixels stay black
                raise ImageReadError(f"its data is damaged near x {box[0]}, y {box[1]} px ({log[0][1]})")
        return pixels, axes

    def read_raw(self, box: Box) -> Pixels:
        """Return the stored values of a box, (h, w); for label images."""
        with watched_log() as log:
            values = self._plane(0, box)
            if log:
                raise ImageReadError(f"its data is damaged near x {box[0]}, y {box[1]} px ({log[0][1]})")
        return values

    def _plane(self, number: int, box: Box) -> Pixels:
        """Return the pixels of a box in the only plane, or in that of one colour, as they are stored."""
        if self._is_plain:
            return self._rows(number, box)
        x0, y0, x1, y1 = box
        height, width = self.tile
        region = np.zeros((y1 - y0, x1 - x0, *self._samples), self._page.dtype)
        for top in range(y0 // height * height, y1, height):
            for left in range(x0 // width * width, x1, width):
                try:
                    block = self._block(number, top, left)
                except READ_ERRORS as error:
                    raise ImageReadError(f"its data is damaged near x {left}, y {top} px ({error})") from error
                if block is None:
                    continue
                ys, xs = max(top, y0), max(left, x0)
                ye, xe = min(top + height, y1), min(left + width, x1)
                part = block[ys - top : ye - top, xs - left : xe - left]
                region[ys - y0 : ye - y0, xs - x0 : xe - x0] = part.reshape(part.shape[:2] + region.shape[2:])
        return region

    def _block(self, plane: int, top: int, left: int) -> Pixels | None:
        """Return a tile or strip, (h, w, samples); None for a blank part of a slide."""
        page = self._page
        if page.is_tiled:
            across = -(-self.size[1] // self.tile[1])
            in_plane = across * -(-self.size[0] // self.tile[0])
            return self._decoded(plane * in_plane + top // self.tile[0] * across + left // self.tile[1])
        index = plane * -(-self.size[0] // self._strip_rows) + top // self._strip_rows
        key = id(page), index
        found = self._strips.get(key)
        if found is None:
            found = self._decoded(index)
            self._strips.put(key, found)
        return found

    def _decoded(self, index: int) -> Pixels | None:
        page = self._page
        data = self._data(page.dataoffsets[index], page.databytecounts[index])
        if data is None:
            return None
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if _is_jpeg(page) else {}
        block = page.decode(data, index, _fullsize=True, **tables)[0]
        return None if block is None else np.asarray(block[0])

    def _rows(self, number: int, box: Box) -> Pixels:
        """Return the pixels of a box in uncompressed strips, of which nothing else is read."""
        x0, y0, x1, y1 = box
        page, rows = self._page, self._strip_rows
        samples = self._samples
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        pixel_bytes = math.prod(samples) * dtype.itemsize
        region = np.empty((y1 - y0, x1 - x0, *samples), page.dtype)
        for y in range(y0, y1):
            index = number * -(-self.size[0] // rows) + y // rows
            start, count = (y % rows * self.size[1] + x0) * pixel_bytes, (x1 - x0) * pixel_bytes
            data = self._data(page.dataoffsets[index] + start, count) or b""
            if len(data) < count or start + count > page.databytecounts[index]:
                raise ImageReadError(f"its data is damaged near x {x0}, y {y} px (the strip is too short)")
            region[y - y0] = np.frombuffer(data, dtype).reshape(region.shape[1:])
        return region

    def _data(self, offset: int, count: int) -> bytes | None:
        if not offset or not count:
            return None
        file = self._page.parent.filehandle
        file.seek(offset)
        data: bytes = file.read(count)
        return data


class _Strips:
    """The strips that were decoded last, of all levels of a file."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], Pixels] = OrderedDict()

    def get(self, key: tuple[int, int]) -> Pixels | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: tuple[int, int], strip: Pixels | None) -> None:
        if strip is None:
            return
        self._kept[key] = strip
        total = sum(each.nbytes for each in self._kept.values())
        while total > _CACHE_BYTES and len(self._kept) > 1:
            total -= self._kept.popitem(last=False)[1].nbytes


def _is_plain(page: Any) -> bool:
    """Return whether the rows of a strip can be read one by one."""
    is_whole_bytes = (
        page.dtype is not None and page.dtype.kind in "uif" and page.bitspersample == 8 * page.dtype.itemsize
    )
    return bool(page.compression == 1 and page.predictor == 1 and page.fillorder == 1 and is_whole_bytes)


def _problem(page: Any, *, is_one_plane: bool) -> str:
    """Return why a level cannot be read by regions: more than a plane, or the pixels depend on the whole image.

    The whole image decides how more than 8 bits are inverted, when colours are divided by alpha, and what NaN becomes.
    """
    is_inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.dtype.itemsize > 1
    is_local = page.dtype.kind in "bu" and not is_inverted and tifffile.EXTRASAMPLE.ASSOCALPHA not in page.extrasamples
    if is_one_plane and is_local and page.axes in ("YX", "YXS", "SYX"):
        return ""
    return (
        "it is neither one plane nor grey planes (which need the extra formats) of 8- or 16-bit values; save it as a "
        "tiled, pyramidal RGB TIFF"
    )


def _large_strip(nbytes: int) -> str:
    """Return why strips of a decoded size cannot be read by regions."""
    if nbytes <= MAX_BLOCK_BYTES:
        return ""
    return (
        f"it is compressed in strips of {nbytes / 2**30:.2g} GiB, which cannot be unpacked in parts; convert it to "
        "tiles, for example with libvips: vips tiffsave IN.tif OUT.tif --tile --pyramid --bigtiff --compression deflate"
    )


def _is_jpeg(page: Any) -> bool:
    return int(page.compression) in (6, 7, 33007, 34892)

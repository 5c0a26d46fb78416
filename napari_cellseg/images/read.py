"""Reads TIFF images of any common kind through one gate: regular files only, limits before decoding, clear errors."""

from __future__ import annotations

import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.limits import MAX_BYTES, MAX_SIDE, check_limits, check_log, check_pages, check_shapes
from napari_cellseg.images.listing import ImageFile, check_regular_file, list_images, natural_key
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.planes import Stack
from napari_cellseg.images.tags import colour_axes, pixel_size_um, to_colours

__all__ = [
    "MAX_BYTES",
    "MAX_SIDE",
    "READ_ERRORS",
    "Image",
    "ImageFile",
    "ReadOptions",
    "choose_level",
    "count_planes",
    "decoded_bytes",
    "list_images",
    "natural_key",
    "opened",
    "read_errors",
    "read_raw",
    "read_size",
    "read_tiff",
    "watched_log",
]

READ_ERRORS = (
    OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError,
    RuntimeError, MemoryError, struct.error, zlib.error, tifffile.TiffFileError,  # no ValueError before tifffile 2025
)  # fmt: skip
"""All errors that tifffile and the codecs raise on a damaged file."""

logger = logging.getLogger(__name__)

Log = list[tuple[int, str]]
"""Level and text of tifffile's log records."""


def read_tiff(
    path: str | os.PathLike[str],
    *,
    level: int | None = None,
    page: int | None = None,
    options: ReadOptions | None = None,
) -> Image:
    """Read the first series of a TIFF.

    Parameters
    ----------
    path : path
    level : int, optional
        Level of a pyramid; 0 is the full resolution. If left out, that of ``options``, else the finest that fits.
    page : int, optional
        One plane of a stack; all if left out.
    options : ReadOptions, optional
        Brightness limits, plane and channels, for `Image.rgb`.

    Raises
    ------
    ImageReadError
        The file does not exist, is not a TIFF, is damaged or too large, or of an unsupported kind.
    """
    path = Path(path)
    with opened(path) as (tif, log):
        options = options or ReadOptions()
        level = options.level if level is None else level
        series, full = choose_level(tif, level)
        coarser = 0 if level is not None else full.levels.index(series)
        pixels, axes = _decode_checked(series, path, page, log)
        pixels, axes = to_colours(pixels, axes, series.keyframe)
        size = pixel_size_um(tif, full.keyframe)
        if size is not None:
            size *= float(full.keyframe.imagewidth / series.keyframe.imagewidth)
    return Image(pixels=pixels, axes=axes, pixel_size_um=size, path=path, options=options, levels_skipped=coarser)


def read_size(path: str | os.PathLike[str], *, level: int | None = 0) -> tuple[int, int]:
    """Return height and width, px, of a level (None: the finest that fits) from the header; errors as `read_tiff`."""
    path = Path(path)
    with opened(path) as (tif, _):
        series = choose_level(tif, level)[0]
        check_limits(series, series.keyframe, path.stat().st_size, by_region=True)  # nothing is decoded
        return int(series.keyframe.imagelength), int(series.keyframe.imagewidth)


def count_planes(path: str | os.PathLike[str], *, options: ReadOptions) -> int:
    """Return the number of planes of the first series from the header alone; errors as `read_tiff`."""
    with opened(Path(path)) as (tif, _):
        series = choose_level(tif, options.level)[0]
        pixels, axes = colour_axes(Stack.stand_in(series.shape), series.axes, series.keyframe)
        return Stack(pixels, axes, options.channels is not None).planes


def read_raw(path: str | os.PathLike[str], image_size: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """Read the stored values of the first series, ignoring colour tags; for label images.

    Parameters
    ----------
    path : path
    image_size : tuple of int, optional
        Required height and width; an image of another size is refused before it is decoded.

    Raises
    ------
    ImageReadError
        As `read_tiff`.
    """
    path = Path(path)
    with opened(path) as (tif, log):
        series = choose_level(tif, 0)[0]
        size = (int(series.keyframe.imagelength), int(series.keyframe.imagewidth))
        if image_size is not None and size != tuple(image_size):
            raise ImageReadError(
                f"it has {size[0]} x {size[1]} px; it must have {image_size[0]} x {image_size[1]} px, as its image"
            )
        check_limits(series, series.keyframe, path.stat().st_size, labels=True, is_known=image_size is not None)
        return _decode_watched(series, path, None, log)[0]


@contextmanager
def opened(path: Path) -> Iterator[tuple[tifffile.TiffFile, Log]]:
    """Open a TIFF; any error in the block becomes one `ImageReadError` that names the file."""
    check_regular_file(path)
    with read_errors(path), watched_log() as log, tifffile.TiffFile(path) as tif:
        yield tif, log


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn any error of tifffile or a codec into one `ImageReadError` that names the file."""
    try:
        yield
    except ImageReadError as error:
        raise ImageReadError(f"Cannot read {path}: {error}.") from error.__cause__
    except READ_ERRORS as error:
        raise ImageReadError(
            f"Cannot read {path}: it is not a TIFF, or damaged or of an unknown kind ({_one_line(error)})."
        ) from error


def choose_level(tif: tifffile.TiffFile, level: int | None) -> tuple[Any, Any]:
    """Return the requested level of the image's pyramid (None: the finest that fits), and its full resolution."""
    check_pages(tif)
    check_shapes(tif)
    levels = _main_series(tif).levels
    if level is None:
        level = next((i for i, each in enumerate(levels) if decoded_bytes(each) <= MAX_BYTES), 0)
    if not 0 <= level < len(levels):
        raise ImageReadError(f"it has no resolution level {level}; there are {len(levels)}, counted from 0")
    return levels[level], levels[0]


def _main_series(tif: tifffile.TiffFile) -> Any:
    """Return the image itself: neither a thumbnail stored before it (NewSubfileType) nor a slide's overview."""
    if not tif.series:
        raise ImageReadError("it has no image inside")
    whole = [series for series in tif.series if not series.keyframe.is_reduced] or list(tif.series)
    if tif.is_scn:  # the overview of the glass comes first
        return max(whole, key=decoded_bytes)
    return whole[0]


def decoded_bytes(series: Any) -> int:
    """Return the size of a level in memory, bytes."""
    return int(np.prod([int(n) for n in series.shape], dtype=object)) * int(series.dtype.itemsize)


def _decode_checked(series: Any, path: Path, plane: int | None, log: Log) -> tuple[npt.NDArray[Any], str]:
    one_page = plane is not None and len(series.pages) > 1
    check_limits(series, series.keyframe, path.stat().st_size, one_page=one_page)
    return _decode_watched(series, path, plane, log)


def _decode_watched(series: Any, path: Path, plane: int | None, log: Log) -> tuple[npt.NDArray[Any], str]:
    for warning in check_log(log):
        logger.warning("%s: %s", path, warning)
    log.clear()
    pixels, axes = _decode(series, plane)
    if log:  # tifffile logs a damaged strip and leaves its pixels black
        raise ImageReadError(f"its data is damaged ({log[0][1]})")
    if pixels.dtype.kind not in "buif":
        raise ImageReadError(f"its pixels are {pixels.dtype}, not whole or real numbers")
    return pixels, axes


def _decode(series: Any, plane: int | None) -> tuple[npt.NDArray[Any], str]:
    if plane is None:
        return np.asarray(series.asarray(maxworkers=1)), series.axes
    pages = len(series.pages)
    axes = series.keyframe.axes
    if pages > 1:
        if not 0 <= plane < pages:
            raise ImageReadError(f"it has no page {plane}; there are {pages}, counted from 0")
        return np.asarray(series.asarray(key=plane, maxworkers=1)), axes
    pixels, names = np.asarray(series.asarray(maxworkers=1)), series.axes
    leading = [i for i, a in enumerate(names) if a not in "YXSC"]
    count = int(np.prod([pixels.shape[i] for i in leading], dtype=int))
    if not 0 <= plane < count:
        raise ImageReadError(f"it has no page {plane}; there are {count}, counted from 0")
    kept = [i for i, a in enumerate(names) if a in "YXSC"]
    stack = pixels.transpose(leading + kept).reshape(-1, *(pixels.shape[i] for i in kept))
    return stack[plane], "".join(names[i] for i in kept)


@contextmanager
def watched_log() -> Iterator[Log]:
    """Collect the records that tifffile logs in this thread at warning level and above."""
    lines: Log = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                lines.append((record.levelno, _one_line(record.getMessage())))

    handler = Collector(logging.WARNING)
    source = tifffile.logger()
    source.addHandler(handler)
    try:
        yield lines
    finally:
        source.removeHandler(handler)


def _one_line(error: object) -> str:
    text = " ".join(str(error).split())
    return (text[:200] + "...") if len(text) > 200 else text or type(error).__name__

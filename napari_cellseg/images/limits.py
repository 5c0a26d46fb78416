"""Limits of TIFF files: what is refused by the header, or by tifffile's log, before a pixel is decoded."""

from __future__ import annotations

import logging
import math
import re
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import tifffile

from napari_cellseg.errors import ImageReadError

__all__ = [
    "MAX_BYTES", "MAX_SIDE", "check_limits", "check_log", "check_pages", "check_ratio", "check_shapes", "check_sides",
]  # fmt: skip

MAX_SIDE = 100_000
"""Longest side of a decoded image, px."""
MAX_REGION_SIDE = 1_000_000
"""Longest side of an image that is read by regions, px."""
MAX_PAGES = 100_000
"""Largest number of pages of a file."""
MAX_BYTES = 4 * 2**30
"""Largest decoded size of one read, bytes."""

# Deflate compresses at most 1030 times, photographs at most about 100 times. Beyond a modest size, data that unpacks to
# more than this many times the file size is a bomb.
_MODEST_BYTES, _MAX_RATIO = 256 * 2**20, 500
# Label images of few cells are nearly empty: 10,000 x 10,000 px of float64 compress 900 times.
_MODEST_LABEL_BYTES = 512 * 2**20

# If these tags are missing or guessed wrong, pixels change their meaning: sizes, types, packing, colours, positions.
_ESSENTIAL_TAGS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347, 530, 32997}
)
# Errors that tifffile logs before it falls back to the plain rules: metadata about how pages belong together. The
# pixels are right then.
_HARMLESS = re.compile(
    r"series (raised|failed to reshape|axes do not match|metadata|shape|length|\w+=)|series metadata"
)


def check_pages(tif: tifffile.TiffFile) -> None:
    """Refuse a TIFF whose chain of pages is circular (tifffile would never end) or too long."""
    file, kind = tif.filehandle, tif.tiff
    place = 8 if kind.version == 43 else 4  # of the offset of the first page: BigTIFF, or classic
    seen: set[int] = set()
    while True:
        file.seek(place)
        data = file.read(kind.offsetsize)
        offset = struct.unpack(kind.offsetformat, data)[0] if len(data) == kind.offsetsize else 0
        if not 0 < offset < file.size:  # the end; tifffile reports an offset outside the file
            return
        if offset in seen or len(seen) >= MAX_PAGES:
            what = "follow each other in a circle" if offset in seen else f"are more than {MAX_PAGES}"
            raise ImageReadError(f"its pages {what}; copy the file again or save the image again")
        seen.add(offset)
        file.seek(offset)
        data = file.read(kind.tagnosize)
        if len(data) < kind.tagnosize:
            return
        place = offset + kind.tagnosize + struct.unpack(kind.tagnoformat, data)[0] * kind.tagsize


def check_shapes(tif: tifffile.TiffFile) -> None:
    """Refuse a page larger than the shape that tifffile's own description gives it: tifffile would add it for ever."""
    if not tif.is_shaped:
        return
    for page in tif.pages:
        text = getattr(page, "shaped_description", None) or ""
        found = re.search(r"shape\W+([0-9, ]+)", text)
        shape = [int(number) for number in re.findall(r"[0-9]{1,18}", found[1])] if found else []
        if min(page.shape, default=0) < 1 or (shape and 0 < math.prod(shape) < math.prod(page.shape)):
            raise ImageReadError(f"it is damaged: its description says {tuple(shape)}, its header {page.shape}")


def check_limits(
    series: Any,
    page: Any,
    file_bytes: int,
    *,
    one_page: bool = False,
    labels: bool = False,
    is_known: bool = False,
    by_region: bool = False,
) -> None:
    """Refuse, by the header alone, images that are too large, implausibly compressed, or incomplete.

    Parameters
    ----------
    series, page : tifffile.TiffPageSeries, tifffile.TiffPage
        The series and page to decode.
    file_bytes : int
    one_page : bool
        Whether only one page of the series is read.
    labels : bool
        Whether it is a label image, which may be nearly empty.
    is_known : bool
        Whether its height and width are those of an image that was already read.
    by_region : bool
        Whether only a few of its tiles are in memory at a time.
    """
    height, width = int(page.imagelength), int(page.imagewidth)
    check_sides(height, width, by_region=by_region)
    shape = page.shape if one_page else series.shape
    decoded = int(np.prod([int(n) for n in shape], dtype=object)) * series.dtype.itemsize
    tile = int(page.tilewidth) * int(page.tilelength) * series.dtype.itemsize if page.is_tiled else 0
    if by_region:
        decoded = tile
    if max(decoded, tile) > MAX_BYTES:
        raise ImageReadError(
            f"it would take {max(decoded, tile) / 2**30:.1f} GiB of memory ({height} x {width} px, {series.dtype}); "
            f"the limit for an image that is read as a whole is {MAX_BYTES / 2**30:.0f} GiB: choose a lower resolution "
            "level or one page, or save it as a tiled TIFF of 8 or 16 bits, which is read by regions, for example with "
            "libvips: vips tiffsave IN.tif OUT.tif --tile --pyramid --bigtiff --compression deflate"
        )
    if not is_known:
        check_ratio(max(decoded, tile), file_bytes, labels=labels)
    for frame in series.pages:
        if frame is None:
            continue
        places = list(zip(frame.dataoffsets, frame.databytecounts, strict=False))
        if any(count and offset + count > file_bytes for offset, count in places):
            raise ImageReadError("it is cut off: some of its data is beyond the end of the file")
        # Tiles without data are blank parts of a slide; a strip without data is lost and reads as black.
        present = [bool(offset and count) for offset, count in places]
        if not (any if page.is_tiled else all)(present):
            raise ImageReadError("it is damaged: its header gives no offset for some of its pixels")


def check_sides(height: int, width: int, *, by_region: bool = False) -> None:
    """Refuse an image without pixels, or with a side that no image has."""
    most = MAX_REGION_SIDE if by_region else MAX_SIDE
    if min(height, width) < 1 or max(height, width) > most:
        raise ImageReadError(f"its header states {height} x {width} px; the limit is {most} px per side")


def check_ratio(decoded: int, file_bytes: int, *, labels: bool = False) -> None:
    """Refuse what would unpack to much more than its file (bytes); a label image may be nearly empty."""
    if decoded > (_MODEST_LABEL_BYTES if labels else _MODEST_BYTES) and decoded > _MAX_RATIO * file_bytes:
        raise ImageReadError(
            f"a file of {file_bytes} bytes claims to unpack to {decoded / 2**30:.1f} GiB, more than {_MAX_RATIO} times "
            "as much; if it is a real image, save it without compression"
        )


def check_log(records: Iterable[tuple[int, str]]) -> list[str]:
    """Return the warnings of tifffile's log (level, line) about the structure of a file.

    If tifffile cannot read a tag, it logs that and continues with a guess.

    Raises
    ------
    ImageReadError
        An error that concerns the pixels.
    """
    warnings = []
    for level, line in records:
        tag = re.search(r"TiffTag (\d+)", line)
        is_essential = int(tag[1]) in _ESSENTIAL_TAGS if tag else not _HARMLESS.search(line)
        if level >= logging.ERROR and is_essential:
            what = f"its tag {tifffile.TIFF.TAGS.get(int(tag[1]))} cannot be read" if tag else line
            raise ImageReadError(f"its header is damaged ({what}); copy the file again or save the image again")
        warnings.append(line)
    return warnings

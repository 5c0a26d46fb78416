"""Reads PNG, JPEG, BMP and JPEG 2000: one picture without planes and without a reliable pixel size."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.limits import MAX_BYTES, MAX_SIDE, check_ratio
from napari_cellseg.images.listing import check_regular_file
from napari_cellseg.images.options import ReadOptions

__all__ = ["PILLOW_ERRORS", "check_unpacked", "planes", "read", "size"]

_DECODERS = {
    "PNG": imagecodecs.png_decode,
    "JPEG": imagecodecs.jpeg8_decode,
    "BMP": imagecodecs.bmp_decode,
    "JPEG2000": imagecodecs.jpeg2k_decode,
}
_NO_COLOURS = ("CMYK", "LAB", "HSV")
PILLOW_ERRORS: tuple[type[Exception], ...] = (
    OSError, EOFError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError, RuntimeError,
    TypeError, SyntaxError, MemoryError, struct.error, zlib.error, UnidentifiedImageError,
    PillowImage.DecompressionBombError,
)  # fmt: skip
"""All that a damaged file makes Pillow and the codecs raise."""


def read(path: Path, *, options: ReadOptions) -> Image:
    """Read the picture, with 8 or 16 bits per value.

    Raises
    ------
    ImageReadError
        The file does not exist, is not a regular file, is damaged or too large, or its colours are not grey or RGB.
    """
    with _header(path) as (header, content):
        _check(header, path, options)
        if header.mode == "P" or header.format == "BMP":  # palettes, and row orders that imagecodecs does not know
            pixels = np.asarray(header.convert("RGBA" if "transparency" in header.info else "RGB"))
        else:
            pixels = np.asarray(_DECODERS[str(header.format)](content))
        if pixels.shape[:2] != (header.height, header.width):
            raise ImageReadError("its header and its data have different sizes")
        pixels, axes = _plain(pixels)
        return Image(pixels=pixels, axes=axes, pixel_size_um=None, path=path, options=options)


def size(path: Path) -> tuple[int, int]:
    """Return height and width, px, from the header."""
    with _header(path) as (header, _):
        return int(header.height), int(header.width)


def planes(path: Path, *, options: ReadOptions) -> int:  # noqa: ARG001 - as for the other formats
    """Return 1."""
    return 1


@contextmanager
def _header(path: Path) -> Iterator[tuple[Any, bytes]]:
    check_regular_file(path)
    try:
        with PillowImage.open(path) as header:
            if header.format not in _DECODERS:
                raise ImageReadError(f"it is a {header.format} file under another name")
            yield header, path.read_bytes()
    except ImageReadError as error:
        raise ImageReadError(f"Cannot read {path}: {error}.") from error.__cause__
    except PILLOW_ERRORS as error:
        text = " ".join(str(error).split())[:200]
        raise ImageReadError(f"Cannot read {path}: it is damaged or not an image ({text}).") from error


def _check(header: Any, path: Path, options: ReadOptions) -> None:
    if header.mode in _NO_COLOURS:
        raise ImageReadError(f"it holds {header.mode} colours; save it as RGB")
    if max(header.size) > MAX_SIDE or header.width * header.height * 4 > MAX_BYTES:
        raise ImageReadError(f"it has {header.height} x {header.width} px, which is too large; cut it into parts")
    check_unpacked(header, path.stat().st_size)
    if options.level:
        raise ImageReadError(f"it has no resolution level {options.level}; there is only 0")


def check_unpacked(header: Any, file_bytes: int, *, labels: bool = False) -> None:
    """Refuse an image of Pillow that would unpack to much more than its file; see `check_ratio`."""
    bytes_each = 1 if header.mode[0] not in "IF" else 4
    check_ratio(header.width * header.height * len(header.getbands()) * bytes_each, file_bytes, labels=labels)


def _plain(pixels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    """Return (H, W) or (H, W, 3|4) and its axes; the alpha of a grey image is dropped."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 2:
        return pixels, "YX"
    if pixels.shape[2] <= 2:
        return np.ascontiguousarray(pixels[..., 0]), "YX"
    return pixels, "YXS"

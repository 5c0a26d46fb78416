"""The table of image formats: the files that look like images, and their readers. A new format is one line here.

A format without an installed reader is still listed: messages about its files name the extra to install.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.options import ReadOptions

__all__ = ["FORMATS", "LARGE_BYTES", "ImageFormat", "format_of", "image_size", "plane_count", "read_image"]


class _Reader(Protocol):
    def __call__(self, path: Path, *, options: ReadOptions) -> Image: ...


class _SizeReader(Protocol):
    def __call__(self, path: Path) -> tuple[int, int]: ...


class _PlaneCounter(Protocol):
    def __call__(self, path: Path, *, options: ReadOptions) -> int: ...


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """A kind of image file.

    Attributes
    ----------
    name : str
        Name for display.
    suffixes : tuple of str
        Lower case, with the dot.
    module : str
        Module with ``read(path, options=ReadOptions)`` -> Image, ``size(path)`` -> (height, width) and
        ``planes(path, options=ReadOptions)`` -> int; imported when needed.
    needs : str
        Package that the reader needs; empty if every installation has it.
    extra : str
        The extra of napari-cellseg that installs the package.
    is_folder : bool
        Whether the image is a folder.
    regions : str
        Module with ``open_stored(path, ReadOptions)`` -> `images.levels.StoredImage`, which reads large images by
        regions; empty if the images are always read as a whole.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    needs: str = ""
    extra: str = ""
    is_folder: bool = False
    regions: str = ""

    @property
    def problem(self) -> str:
        """Why this format cannot be read here, and what to do; empty if it can."""
        if not self.needs or importlib.util.find_spec(self.needs.split(".")[0]) is not None:
            return ""
        return f'{self.name} needs the package {self.needs}: pip install "napari-cellseg[{self.extra}]"'


LARGE_BYTES = 32 * 2**20
"""Decoded size above which an image may be read by regions."""
_HERE = "napari_cellseg.images"
_TIFF_LEVELS = f"{_HERE}.tiff_levels"
FORMATS = (
    ImageFormat(name="TIFF", suffixes=(".tif", ".tiff", ".btf", ".tf8"), module=f"{_HERE}.tiff", regions=_TIFF_LEVELS),
    ImageFormat(
        name="slide (TIFF)", suffixes=(".svs", ".scn", ".ndpi", ".bif"), module=f"{_HERE}.tiff", regions=_TIFF_LEVELS
    ),
    ImageFormat(name="PNG", suffixes=(".png",), module=f"{_HERE}.flat"),
    ImageFormat(name="JPEG", suffixes=(".jpg", ".jpeg"), module=f"{_HERE}.flat"),
    ImageFormat(name="BMP", suffixes=(".bmp",), module=f"{_HERE}.flat"),
    ImageFormat(name="JPEG 2000", suffixes=(".jp2", ".j2k"), module=f"{_HERE}.flat"),
    ImageFormat(
        name="OME-Zarr",
        suffixes=(".zarr",),
        module=f"{_HERE}.ome_zarr",
        needs="zarr",
        extra="formats",
        is_folder=True,
        regions=f"{_HERE}.zarr_levels",
    ),
    ImageFormat(name="Zeiss CZI", suffixes=(".czi",), module=f"{_HERE}.bio", needs="bioio_czi", extra="bioio"),
    ImageFormat(name="Nikon ND2", suffixes=(".nd2",), module=f"{_HERE}.bio", needs="bioio_nd2", extra="bioio"),
    ImageFormat(name="Leica LIF", suffixes=(".lif",), module=f"{_HERE}.bio", needs="bioio_lif", extra="bioio"),
)


def format_of(path: Path) -> ImageFormat | None:
    """Return the format of a file by its name; None if it is not an image."""
    suffix = path.suffix.lower()
    return next((known for known in FORMATS if suffix in known.suffixes), None)


def read_image(path: str | os.PathLike[str], *, options: ReadOptions | None = None) -> Image:
    """Read an image of any known format.

    Raises
    ------
    ImageReadError
        The file does not exist, is not an image, is damaged or too large, or its reader is not installed.
    """
    path = Path(path)
    known = format_of(path) or FORMATS[0]
    reader = cast("_Reader", _function(path, "read"))
    image = reader(path, options=options or ReadOptions())
    if known.regions and image.pixels.nbytes > LARGE_BYTES:
        image = _with_limits_of_overview(image)
    _ = image.shown  # report a missing plane or channel here, not when the picture is first needed
    return image


def _with_limits_of_overview(image: Image) -> Image:
    """Return a large image with the brightness limits that it has where it is read by regions."""
    from napari_cellseg.images.slide import overview_of_file

    overview = overview_of_file(image.path, image.options)
    return image if overview is None else replace(image, limits_of=overview)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return height and width, px, from the header alone if the format allows it; errors as `read_image`."""
    path = Path(path)
    return cast("_SizeReader", _function(path, "size"))(path)


def plane_count(path: str | os.PathLike[str], options: ReadOptions | None = None) -> int:
    """Return the number of planes of a stack, from the header alone; errors as `read_image`.

    The chosen channels count, because they may say that the pages of a file are channels.
    """
    path = Path(path)
    return cast("_PlaneCounter", _function(path, "planes"))(path, options=options or ReadOptions())


def _function(path: Path, name: str) -> object:
    known = format_of(path) or FORMATS[0]  # a file without a suffix may be a TIFF; the reader reports if it is not
    if known.problem:
        raise ImageReadError(f"Cannot read {path}: {known.problem}.")
    return getattr(importlib.import_module(known.module), name)

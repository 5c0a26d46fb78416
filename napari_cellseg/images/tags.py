"""Interprets the tags of a TIFF: its colours (photometric interpretation) and its pixel size."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.brightness import nominal_top

__all__ = ["colour_axes", "pixel_size_um", "samples_last", "to_colours"]

Pixels = npt.NDArray[Any]

_UM_PER_UNIT = {
    "": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "\\u00b5m": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0, "in": 25_400.0,
}  # fmt: skip
_COARSEST_UM = 25.0
"""Above this, a plain resolution tag is meant for printing (72 dpi is 353 um), not for microscopy."""

_JPEG_LIKE = {
    tifffile.COMPRESSION.OJPEG,
    tifffile.COMPRESSION.JPEG,
    tifffile.COMPRESSION.APERIO_JP2000_YCBC,
    tifffile.COMPRESSION.APERIO_JP2000_RGB,
    tifffile.COMPRESSION.JPEG2000,
    tifffile.COMPRESSION.JPEGXL,
    tifffile.COMPRESSION.WEBP,
}


def to_colours(pixels: Pixels, axes: str, page: Any) -> tuple[Pixels, str]:
    """Convert stored samples to grey (..., H, W) or colour (..., H, W, 3|4) pixels.

    Parameters
    ----------
    pixels : array
        As tifffile decodes them.
    axes : str
        Their axes, in tifffile's letters.
    page : tifffile.TiffPage
        The page whose tags define the samples.

    Returns
    -------
    (pixels, axes), the axes in an order that ends in "YX" or "YXS"

    Raises
    ------
    ImageReadError
        The colours cannot be converted to grey or RGB. The caller adds the path to the message.
    """
    pixels, axes = samples_last(pixels, axes)
    kind = page.photometric
    if kind == tifffile.PHOTOMETRIC.PALETTE:
        return _through_palette(pixels, axes, page)
    pixels = _stretch_few_bits(pixels, page.bitspersample)
    if kind == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = _inverted(pixels)
    elif kind == tifffile.PHOTOMETRIC.SEPARATED:
        raise ImageReadError("it holds CMYK colours, which mean nothing without a printer's profile; save it as RGB")
    elif kind == tifffile.PHOTOMETRIC.YCBCR:
        if page.compression not in _JPEG_LIKE:
            raise ImageReadError("it holds YCbCr colours without JPEG compression; save it as RGB")
    elif kind not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
        raise ImageReadError(f"it holds {getattr(kind, 'name', kind)} colours; save it as RGB or grey")
    return _plain_samples(_unmultiplied(pixels, axes, page.extrasamples), axes, _is_colour(page))


def colour_axes(pixels: Pixels, axes: str, page: Any) -> tuple[Pixels, str]:
    """Return the shape and axes of `to_colours` as an array without meaning; for pixels that are not decoded."""
    pixels, axes = samples_last(pixels, axes)
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE:
        return _plain_samples(pixels, axes, _is_colour(page))
    grey = pixels[..., 0] if axes.endswith("S") else pixels
    return np.broadcast_to(grey[..., None], (*grey.shape, 3)), axes.removesuffix("S") + "S"


def _is_colour(page: Any) -> bool:
    return page.photometric != tifffile.PHOTOMETRIC.MINISBLACK or len(page.extrasamples) == 1


def samples_last(pixels: Pixels, axes: str) -> tuple[Pixels, str]:
    """Move the samples (and three channels, which count as R, G, B) to the end and drop axes of length 1."""
    letter = "S" if "S" in axes else "C" if "C" in axes and pixels.shape[axes.index("C")] == 3 else ""
    order = [i for i, a in enumerate(axes) if a not in ("Y", "X", letter) and pixels.shape[i] > 1]
    if "Y" not in axes or "X" not in axes:
        raise ImageReadError(f"it has the axes {axes}, which are not those of an image")
    lengths_one = [i for i, a in enumerate(axes) if a not in ("Y", "X", letter) and pixels.shape[i] == 1]
    last = [axes.index(a) for a in ("Y", "X", letter) if a]
    moved = pixels.transpose(lengths_one + order + last)
    moved = moved.reshape(moved.shape[len(lengths_one) :])
    return moved, "".join(axes[i] for i in order) + "YX" + ("S" if letter else "")


def _plain_samples(pixels: Pixels, axes: str, is_colour: bool) -> tuple[Pixels, str]:
    """Reduce the samples to none, 3 or 4: one is squeezed, the second of two is alpha, more than four are channels.

    Four samples are red, green, blue and alpha only if the tags say so; otherwise they are four channels.
    """
    if not axes.endswith("S") or pixels.shape[-1] == 3 or (pixels.shape[-1] == 4 and is_colour):
        return pixels, axes
    if pixels.shape[-1] <= 2:
        return pixels[..., 0], axes[:-1]
    return np.moveaxis(pixels, -1, 0), "C" + axes[:-1]


def _through_palette(pixels: Pixels, axes: str, page: Any) -> tuple[Pixels, str]:
    table = page.colormap
    if axes.endswith("S"):
        pixels, axes = pixels[..., 0], axes[:-1]
    if table is None or pixels.dtype.kind not in "bu":
        raise ImageReadError("it is a palette image without a usable palette")
    # By the standard, palettes have 16 bits, but some programs write 8-bit numbers.
    colours = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    if pixels.size and int(pixels.max()) >= colours.shape[1]:
        raise ImageReadError("it is a palette image with pixels outside its palette")
    return np.take(colours.T, pixels.astype(np.intp), axis=0), axes + "S"


def _stretch_few_bits(pixels: Pixels, bits: int) -> Pixels:
    """Scale 1-, 2- and 4-bit grey to 0..255, as viewers show it."""
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint8 and bits < 8:
        return np.asarray(pixels.astype(np.uint16) * 255 // (2**bits - 1), np.uint8)
    return pixels


def _inverted(pixels: Pixels) -> Pixels:
    if pixels.dtype.kind == "u":
        # The maximum of the used bits: inverted 12-bit data in a 16-bit file is black at 4095.
        top = max(255, int(nominal_top(float(pixels.max(initial=0))) or np.iinfo(pixels.dtype).max))
        return np.asarray(np.subtract(top, pixels, dtype=pixels.dtype))
    return np.asarray(np.negative(pixels))


def _unmultiplied(pixels: Pixels, axes: str, extra: Any) -> Pixels:
    """Divide colours by their alpha if they are stored premultiplied ("associated alpha")."""
    if not axes.endswith("S") or not extra or extra[0] != tifffile.EXTRASAMPLE.ASSOCALPHA:
        return pixels
    place = pixels.shape[-1] - len(extra)
    alpha = pixels[..., place : place + 1]
    opaque = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    if (alpha == alpha.max(initial=0)).all():  # fully opaque, as most images are
        return pixels
    divided = pixels.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        colours = pixels[..., :place] * (opaque / alpha.astype(np.float64))
    colours = np.where(alpha > 0, np.minimum(np.rint(colours) if opaque > 1 else colours, opaque), 0)
    divided[..., :place] = colours
    return divided


def pixel_size_um(tif: tifffile.TiffFile, page: Any) -> float | None:
    """Return the full-resolution pixel size in um (geometric mean of x and y), or None if unknown."""
    if tif.ome_metadata:
        return _plausible(*_ome_sizes(tif.ome_metadata))
    if found := re.search(r"MPP\s*=\s*([0-9.]+)", str(page.description)):  # Aperio
        return _plausible(*(_number(found[1]),) * 2)
    x, y = _um_of_tag(page, "XResolution"), _um_of_tag(page, "YResolution")
    unit = ""
    if tif.imagej_metadata:
        unit = str(tif.imagej_metadata.get("unit", "")).strip().lower()
        if unit not in _UM_PER_UNIT or not unit:
            return None
    else:
        unit = {2: "inch", 3: "cm"}.get(int(page.tags.valueof("ResolutionUnit", 2)), "none")
    factor = _UM_PER_UNIT.get(unit, math.nan)
    return _plausible(x * factor, y * factor)


def _um_of_tag(page: Any, name: str) -> float:
    value = page.tags.valueof(name)
    try:
        pixels, units = value
        return float(units / pixels)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan


def _ome_sizes(xml: str) -> tuple[float, float]:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return math.nan, math.nan
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            return _ome_size(element.attrib, "X"), _ome_size(element.attrib, "Y")
    return math.nan, math.nan


def _ome_size(attributes: dict[str, str], axis: str) -> float:
    unit = attributes.get(f"PhysicalSize{axis}Unit", "µm").strip().lower()
    return _number(attributes.get(f"PhysicalSize{axis}", "")) * _UM_PER_UNIT.get(unit, math.nan)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _plausible(x: float, y: float) -> float | None:
    size = math.sqrt(x * y) if x > 0 and y > 0 else math.nan
    return size if 0 < size <= _COARSEST_UM else None

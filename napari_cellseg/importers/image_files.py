"""Pixels and label values of the images that annotations belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.images.flat import PILLOW_ERRORS, check_unpacked
from napari_cellseg.images.formats import format_of, read_image
from napari_cellseg.images.listing import check_regular_file
from napari_cellseg.images.read import read_raw

__all__ = ["read_pixels", "read_values"]

_PILLOW = (".png", ".jpg", ".jpeg", ".bmp")


def _is_tiff(path: Path) -> bool:
    known = format_of(path)
    return known is not None and known.module.endswith(".tiff")


def read_pixels(path: Path) -> npt.NDArray[Any]:
    """Return the pixels of an image other than TIFF, (H, W) or (H, W, 3): palettes applied, alpha dropped.

    Raises
    ------
    ImageReadError
        The file cannot be read.
    """
    if path.suffix.lower() not in _PILLOW:
        return read_image(path).rgb()
    check_regular_file(path)
    try:
        with PillowImage.open(path) as file:
            check_unpacked(file, path.stat().st_size)
            if file.mode in ("1", "LA", "La"):
                return np.asarray(file.convert("L"))
            grey = file.mode == "L" or file.mode.startswith("I")
            pixels = np.asarray(file if grey or file.mode == "RGB" else file.convert("RGB"))
    except ImageReadError as error:
        raise ImageReadError(f"Cannot read {path}: {error}.") from error.__cause__
    except PILLOW_ERRORS as error:
        raise ImageReadError(f"Cannot read {path}: it is no image, or damaged ({error}).") from error
    if pixels.dtype == np.int32 and pixels.size and pixels.min() >= 0 and pixels.max() < 2**16:
        return pixels.astype(np.uint16)
    return pixels


def read_values(path: Path) -> npt.NDArray[Any]:
    """Return the stored values of a label image: (H, W), or (H, W, 3|4) for a colour image.

    A palette is not applied: the values are palette indices, as in the masks of Pascal VOC.

    Raises
    ------
    AnnotationError
        It cannot be read.
    """
    try:
        if _is_tiff(path):
            values = read_raw(path)
        else:
            check_regular_file(path)
            with PillowImage.open(path) as file:
                check_unpacked(file, path.stat().st_size, labels=True)
                values = np.asarray(file)
    except ImageReadError as error:
        raise AnnotationError(f"Cannot read {path.name}: {error}") from error
    except PILLOW_ERRORS as error:
        raise AnnotationError(f"Cannot read {path.name}: it is no image, or damaged ({error})") from error
    values = np.squeeze(values)
    if values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):  # planar colours
        values = np.moveaxis(values, 0, 2)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (2, 3, 4)):
        raise AnnotationError(f"{path.name} has the shape {' x '.join(map(str, values.shape))}; a mask is one plane")
    return values

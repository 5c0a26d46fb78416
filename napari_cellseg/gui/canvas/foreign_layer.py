"""An image layer that napari or another plugin opened, as an `Image` of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.images.read import Image

__all__ = ["image_of_layer"]


def image_of_layer(layer: Any) -> Image | None:
    """Return the pixels of a napari image layer; None for a stack.

    Brightness is decided as for a file, not by the contrast limits that napari happens to show the layer with: the same
    picture gives the same cells whichever way it came.
    """
    pixels = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    axes = "YXS" if layer.rgb else "YX"
    if pixels.ndim != len(axes):
        return None
    return Image(pixels=pixels, axes=axes, pixel_size_um=_pixel_size_um(layer), path=Path(layer.name))


def _pixel_size_um(layer: Any) -> float | None:
    is_um = all(str(unit) in ("micrometer", "micron", "um") for unit in layer.units[-2:])
    return float(layer.scale[-1]) if is_um else None

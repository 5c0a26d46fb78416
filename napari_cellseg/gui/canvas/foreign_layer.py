"""An image layer that napari or another plugin opened, as an `Image` of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.images.read import Image, Scaling

__all__ = ["image_of_layer"]


def image_of_layer(layer: Any) -> Image | None:
    """Return the pixels of a napari image layer, in the brightness it is shown in; None for a stack."""
    pixels = np.asarray(layer.data)
    axes = "YXS" if layer.rgb else "YX"
    if pixels.ndim != len(axes):
        return None
    return Image(pixels, axes, _pixel_size_um(layer), Path(layer.name), _scaling(layer, pixels))


def _pixel_size_um(layer: Any) -> float | None:
    is_um = all(str(unit) in ("micrometer", "micron", "um") for unit in layer.units[-2:])
    return float(layer.scale[-1]) if is_um else None


def _scaling(layer: Any, pixels: Any) -> Scaling | None:
    if pixels.dtype == np.uint8:
        return None
    if not layer.rgb:
        low, high = layer.contrast_limits
    else:  # colours have no contrast limits in napari
        low, high = 0.0, 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    return Scaling(float(low), float(high), None)

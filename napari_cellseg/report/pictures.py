"""Pictures of the report as bytes: JPEG of pixels, SVG of plots, and data URIs of both."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["data_uri", "fitted", "jpeg", "svg"]


def fitted(rgb: npt.NDArray[np.uint8], longest: int) -> npt.NDArray[np.uint8]:
    """Return an image (H, W, 3) reduced so that its longest side has ``longest`` px; never enlarged."""
    height, width = rgb.shape[:2]
    factor = min(1.0, longest / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))


def jpeg(rgb: npt.NDArray[np.uint8]) -> bytes:
    """Return an image (H, W, 3) uint8 as JPEG."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=88)
    return file.getvalue()


def svg(figure: Figure) -> str:
    """Return a figure as an ``<svg>`` element, equal for equal figures."""
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def data_uri(data: bytes) -> str:
    """Return a JPEG as the address of an ``<img>``."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"

"""`PredictItem`: an image to predict; apart from `predict`, so that the window's process can make one without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_cellseg.images.options import ReadOptions

__all__ = ["PredictItem"]


@dataclass(frozen=True, eq=False)
class PredictItem:
    """An image to predict.

    Attributes
    ----------
    image_id : str
        Id of the image in the events.
    source : Path or (H, W, 3) uint8
        A TIFF, or the pixels.
    pixel_size_um : float or None
        Overrides the pixel size of the file.
    reading : ReadOptions, optional
        How to read a file; fields that were not chosen are those of the training of the model.
    centre : (float, float), optional
        y and x, px of the image: the tiles nearest to it come first, and the cells so far are reported.
    """

    image_id: str
    source: Path | npt.NDArray[np.uint8]
    pixel_size_um: float | None = None
    reading: ReadOptions | None = None
    centre: tuple[float, float] | None = None

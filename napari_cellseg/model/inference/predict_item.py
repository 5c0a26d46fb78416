"""`PredictItem`: an image to predict; apart from `predict`, so that the window's process can make one without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_cellseg.images.options import ReadOptions

__all__ = ["PredictItem", "SlideTask"]

Ring = tuple[tuple[float, float], ...]
"""Corners x, y of a polygon, along pixel edges of level 0: pixel 0 spans 0..1."""


@dataclass(frozen=True)
class SlideTask:
    """How a slide is predicted tile by tile, with its cells on disk.

    Attributes
    ----------
    store : Path
        The file of the `CellStore`; that of an interrupted run with the same settings is continued.
    skips_glass : bool
        Whether tiles without tissue are left out.
    region : tuple of tuple of Ring
        Only cells of which half lies inside one of these polygons, each an outline and its holes; empty for the whole
        slide.
    first : (float, float), optional
        x and y, px of level 0: the tiles nearest to it come first. The cells do not depend on it.
    part : Ring
        Only the batches of tiles that decide about cells in this polygon are predicted in this run; empty for all. The
        cells do not depend on it: the others wait in the store for the next run.
    """

    store: Path
    skips_glass: bool = True
    region: tuple[tuple[Ring, ...], ...] = ()
    first: tuple[float, float] | None = None
    part: Ring = ()


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
    slide : SlideTask, optional
        Read the file by regions, and write its cells to disk; the file must be such that `has_regions` is true.
    """

    image_id: str
    source: Path | npt.NDArray[np.uint8]
    pixel_size_um: float | None = None
    reading: ReadOptions | None = None
    centre: tuple[float, float] | None = None
    slide: SlideTask | None = None

"""What a user points at, and the answer: values that both processes know, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks

__all__ = ["CellAnswer", "CellPrompt", "Way", "region_around"]

Box = tuple[int, int, int, int]

_REGION_PX = 256
"""Side of the region around a click, network px: some seven cells wide, so that the network sees what surrounds one."""


class Way(Enum):
    """What an answer is based on."""

    PROPOSAL = "a proposal below the minimum score"
    HEADS = "the box and mask heads of the model"
    STAIN = "the stain"


@dataclass(frozen=True, eq=False, kw_only=True)
class CellPrompt:
    """A place where the user says that there is a cell.

    Attributes
    ----------
    image_key : str
        Changes with the pixels of the image; the features of a region are computed again for another key.
    image_size : (int, int)
        Height and width of the image, px.
    region : (int, int, int, int)
        x0, y0, x1, y1 of ``pixels`` in the image, px, half-open.
    pixels : (y1 - y0, x1 - x0, 3) uint8
        RGB.
    taken : (y1 - y0, x1 - x0) bool
        Pixels of the cells that are shown.
    point : (float, float) or None
        y, x of a click, px of the image; pixel 0 spans -0.5..0.5.
    drawn : (float, float, float, float) or None
        x0, y0, x1, y1 of a drawn box, px of the image; instead of a click.
    proposals : (P, 4) float
        Boxes of proposed cells at the point that are below their minimum score, px of the image.
    pixel_size_um : float or None
    """

    image_key: str
    image_size: tuple[int, int]
    region: Box
    pixels: npt.NDArray[np.uint8]
    taken: npt.NDArray[np.bool_]
    point: tuple[float, float] | None = None
    drawn: tuple[float, float, float, float] | None = None
    proposals: Sequence[Box] = ()
    pixel_size_um: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class CellAnswer:
    """One cell in several sizes.

    Attributes
    ----------
    sizes : InstanceMasks
        The same cell from small to large; ``class_ids`` are those of ``classes``.
    first : int
        Index of the best size.
    way : Way
    classes : ClassTable or None
        Classes of the model; None if no model was used, then every ``class_id`` is 1 and means nothing.
    """

    sizes: InstanceMasks
    first: int
    way: Way
    classes: ClassTable | None = None


def region_around(box: Sequence[float], scale: float, image_size: tuple[int, int]) -> Box:
    """Return the region that the network has to see, (x0, y0, x1, y1) px of the image.

    Parameters
    ----------
    box : (x0, y0, x1, y1)
        A click is a box without extent.
    scale : float
        Network px per image px.
    image_size : (int, int)
        Height and width, px.
    """
    height, width = image_size
    wanted = max(_REGION_PX / scale, 1.5 * max(box[2] - box[0], box[3] - box[1]))
    spans = []
    for low, high, length in ((box[0], box[2], width), (box[1], box[3], height)):
        side = min(math.ceil(wanted), length)
        start = min(max(round((low + high - side) / 2), 0), length - side)
        spans.append((start, start + side))
    (x0, x1), (y0, y1) = spans
    return x0, y0, x1, y1

"""Detects images that are not label images: binary masks and class maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.errors import AnnotationError
from napari_cellseg.wording import counted

__all__ = ["TOUCHING", "check_spread", "looks_like_classes", "split_advice"]

TOUCHING = np.ones((3, 3), bool)
"""8-connectivity: pixels that touch at a corner are connected."""

_FEW_VALUES, _MANY_PARTS = 20, 3
_BASE_PIXELS, _TIMES = 2**29, 8

Boxes = Sequence[tuple[slice, slice]]


def check_spread(boxes: Boxes, labels: npt.NDArray[Any]) -> None:
    """Refuse values that lie scattered over a label image, before each gets a mask as large as its box.

    Cells hang together, so that their boxes hardly have more pixels than the image. A grey image that is named like a
    label image has thousands of values, each of which is everywhere.

    Raises
    ------
    AnnotationError
        The boxes have many times as many pixels as the image.
    """
    pixels = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in boxes)
    if pixels > max(_BASE_PIXELS, _TIMES * labels.size):
        raise AnnotationError(
            f"its {counted(len(boxes), 'value')} are scattered over the image as in a photograph; it holds no labels"
        )


def looks_like_classes(labels: npt.NDArray[Any]) -> tuple[int, int]:
    """Return the numbers of values and of separate regions of a label image if the regions are far more, else 0, 0.

    One value with several regions suggests a binary mask; a few values with many regions each suggest a class map.
    """
    values = np.unique(labels[labels != 0])
    if not 0 < len(values) <= _FEW_VALUES:
        return 0, 0
    regions = sum(ndimage.label(labels == value, TOUCHING)[1] for value in values.tolist())
    usual = len(values) == 1 and values[0] in (1, 255)  # the usual values of binary masks
    is_map = regions > 1 if usual else regions > _MANY_PARTS * len(values)
    return (len(values), int(regions)) if is_map else (0, 0)


def split_advice(values: int, regions: int) -> str:
    """Return a warning that a label image looks like a binary mask or a class map, with advice."""
    kind = "a binary mask" if values == 1 else "a map of classes"
    return (
        f"it looks like {kind}: {regions:,} separate regions share {counted(values, 'value')}, and each value is read "
        "as one cell; `napari-cellseg import --split parts` (or touching) makes each region a cell"
    )

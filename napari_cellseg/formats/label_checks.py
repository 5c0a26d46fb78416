"""Detects images that are not label images: binary masks and class maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.wording import counted

__all__ = ["TOUCHING", "looks_like_classes", "split_advice"]

TOUCHING = np.ones((3, 3), bool)
"""8-connectivity: pixels that touch at a corner are connected."""

_FEW_VALUES, _MANY_PARTS = 20, 3


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

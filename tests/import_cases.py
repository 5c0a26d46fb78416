"""Shared by the tests of imports: label images, outlines, and what was imported."""

from __future__ import annotations

from typing import Any

import numpy as np
from import_writers import SIZE

from napari_cellseg.importers import Imported


def squares(*corners: tuple[int, int], side: int = 5, dtype: Any = np.uint8) -> np.ndarray:
    labels = np.zeros(SIZE, dtype)
    for value, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = value
    return labels


def areas(result: Imported) -> list[int]:
    return [int(area) for each in result.images for area in each.cells.areas]


def ring(x: int, y: int, side: int) -> list[list[int]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]

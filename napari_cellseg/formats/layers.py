"""Splits overlapping cells of a class into several label images without loss, and counts what one image would lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.instances import InstanceMasks, intersections

__all__ = ["Covered", "covered", "layers_of"]


@dataclass(frozen=True)
class Covered:
    """The loss when each class is stored as one label image.

    Attributes
    ----------
    pixels : int
        Pixels that belong to two or more cells of one class, counted once for each cell that does not get them.
    cells : int
        Cells that lose pixels.
    hidden : int
        Cells that lose all of them.
    """

    pixels: int = 0
    cells: int = 0
    hidden: int = 0

    def __add__(self, other: Covered) -> Covered:
        return Covered(self.pixels + other.pixels, self.cells + other.cells, self.hidden + other.hidden)


def layers_of(cells: InstanceMasks, values: npt.NDArray[np.int64] | None = None) -> list[npt.NDArray[Any]]:
    """Paint cells into few label images (H, W) such that no two cells of one image overlap.

    Parameters
    ----------
    cells : InstanceMasks
        Cells of one class.
    values : (N,) int, optional
        The value of each cell, distinct and above 0; 1..N if left out.

    Returns
    -------
    list of (H, W) int32 or int64
        One image if no cells overlap; none without cells.
    """
    painted = np.arange(1, len(cells) + 1) if values is None else values
    dtype = np.int64 if len(painted) and int(painted.max()) > np.iinfo(np.int32).max else np.int32
    layers = _layer_of_each(cells)
    count = max(layers, default=-1) + 1
    members = [np.array([i for i, layer in enumerate(layers) if layer == number]) for number in range(count)]
    return [cells.select(chosen).paste(painted[chosen], dtype) for chosen in members]


def _layer_of_each(cells: InstanceMasks) -> Sequence[int]:
    """Assign each cell to the first layer where it overlaps no other, the largest cells first."""
    if int(cells.areas.sum()) == np.count_nonzero(cells.paste(np.ones(len(cells), np.uint8), np.uint8)):
        return [0] * len(cells)
    neighbours: list[list[int]] = [[] for _ in range(len(cells))]
    for i, j in zip(*(index.tolist() for index in intersections(cells, cells)[:2]), strict=True):
        if i != j:
            neighbours[i].append(j)
    layers = [-1] * len(cells)
    for i in np.argsort(-cells.areas, kind="stable").tolist():
        taken = {layers[j] for j in neighbours[i]}
        layers[i] = next(layer for layer in range(len(cells)) if layer not in taken)
    return layers


def covered(cells: InstanceMasks) -> Covered:
    """Count the loss if the cells of each class become one label image, with smaller cells on top."""
    total = Covered()
    for class_id in np.unique(cells.class_ids).tolist():
        of_class = cells.select(cells.class_ids == class_id)
        areas = of_class.areas
        visible = np.bincount(of_class.paste_smallest_on_top().ravel(), minlength=len(of_class) + 1)[1:]
        lost = areas - visible
        total += Covered(int(lost.sum()), int((lost > 0).sum()), int((visible == 0).sum()))
    return total

"""Cells of a slide in a store, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.instances import InstanceMasks

CLASSES = ClassTable(("round", "square"))


def grid_cells(size: tuple[int, int], spacing: int = 50, side: int = 20, first: int = 0) -> InstanceMasks:
    """Return squares of class 2 and discs of class 1 in turn on a grid, row by row, scores falling from 0.9 to 0.5."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    shapes = [x**2 + y**2 <= (side / 2) ** 2, np.ones((side, side), bool)]
    corners = [(top, left) for top in range(10, size[0] - side, spacing) for left in range(10, size[1] - side, spacing)]
    number = np.arange(len(corners)) + first
    boxes = [(left, top, left + side, top + side) for top, left in corners]
    return InstanceMasks(
        image_size=size,
        boxes=np.array(boxes, np.int32),
        class_ids=(1 + number % 2).astype(np.int32),
        scores=np.linspace(0.9, 0.5, len(corners)).astype(np.float32),
        masks=tuple(shapes[i % 2] for i in number.tolist()),
    )


def write_store(path: Path, cells: InstanceMasks, *, complete: bool = True, **facts: Any) -> Path:
    """Write a store with these cells as one tile."""
    with CellStore.create(path, cells.image_size, {"made_from": {}, "classes": CLASSES.to_json()} | facts) as store:
        colours = np.zeros((len(cells), 3), np.int64)
        store.add({0: "done"}, TileCells.of_tile(0, cells, colours), TileCells.empty(cells.image_size))
        if complete:
            store.finish()
    return path

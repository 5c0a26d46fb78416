"""A slide in a real window: time to open, memory, and the stalls of panning, zooming and reviewing a million cells.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/slide_window.py [--side 20000] [--cells 1000000]

The slide is a synthetic pyramid of JPEG tiles; its cells are ellipses in a store, as `predict` writes one. A timer of
5 ms in the window's thread stands for the window in use: how late it is, is the stall that a user feels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.instances import InstanceMasks

BATCH = 20_000


def ellipses(rng: np.random.Generator, count: int = 64) -> list[Any]:
    """Return masks of nuclei, about 11 px wide."""
    y, x = np.mgrid[-12:13, -12:13]
    masks = []
    for _ in range(count):
        long, short, turn = rng.uniform(5, 9), rng.uniform(4, 6), rng.uniform(0, np.pi)
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        inside = (u / long) ** 2 + (v / short) ** 2 <= 1
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        masks.append(inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return masks


def write_cells(path: Path, side: int, cells: int, seed: int = 0) -> None:
    """Write a complete store of cells on a jittered grid."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(cells)))
    spacing = side / across
    masks = ellipses(rng)
    size = side, side
    with CellStore.create(path, size, {"made_from": {}, "classes": TISSUE_CLASSES.to_json()}) as store:
        for tile, first in enumerate(range(0, cells, BATCH)):
            number = np.arange(first, min(first + BATCH, cells))
            chosen = [masks[i] for i in rng.integers(0, len(masks), len(number)).tolist()]
            extent = np.array([mask.shape[::-1] for mask in chosen])
            corner = np.stack([number % across, number // across], 1) * spacing
            corner += rng.uniform(0, spacing / 3, corner.shape)
            corner = np.minimum(corner.astype(int), side - extent)
            found = InstanceMasks(
                image_size=size,
                boxes=np.concatenate([corner, corner + extent], 1).astype(np.int32),
                class_ids=rng.integers(1, 5, len(number)).astype(np.int32),
                scores=rng.uniform(0.5, 1, len(number)).astype(np.float32),
                masks=tuple(chosen),
            )
            colours = np.zeros((len(found), 3), np.int64)
            store.add({tile: "done"}, TileCells.of_tile(tile, found, colours), TileCells.empty(size))
        store.finish()

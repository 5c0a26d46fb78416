"""Tiles joined as they arrive: the same cells, byte by byte, as all tiles joined at the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_seams import crowd, seen_by

from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.seam_stream import SeamStream
from napari_cellseg.model.inference.seams import merge_tiles, suppress
from napari_cellseg.model.inference.tiles import Tile, plan_tiles

IOU, MARGIN = 0.5, 4


def messy(size: int, count: int, tiles: list[Tile], seed: int) -> list[InstanceMasks]:
    """Return for each tile cells of any size that overlap, some of them seen differently in each tile."""
    rng = np.random.default_rng(seed)
    axes, places = rng.uniform(3, 30, (count, 2)), rng.integers(-5, size - 5, (count, 2))
    found = []
    for tile in tiles:
        masks = []
        for a, b in axes:
            y, x = np.indices((2 * int(b) + 1, 2 * int(a) + 1)) - np.array([int(b), int(a)])[:, None, None]
            masks.append((x / a) ** 2 + (y / b) ** 2 <= 1)
        jitter = rng.integers(-2, 3, (count, 2))
        everything = InstanceMasks.from_crops((size, size), places + jitter, masks, rng.integers(1, 4, count))
        cells = seen_by(everything, tile, rng)
        cells = cells.select(rng.random(len(cells)) > 0.1)  # a tile overlooks some
        scores = cells.scores.round(1)  # ties
        found.append(suppress(replace(cells, scores=scores), IOU, across_classes=True))
    return found


def streamed(
    tiles: list[Tile], parts: list[InstanceMasks], size: tuple[int, int], kill_at: int = -1
) -> tuple[InstanceMasks, int]:
    """Return the cells of a stream, and the most cells that waited."""
    stream = SeamStream(tiles, size, iou=IOU, margin=MARGIN)
    finished, waiting, most = [TileCells.empty(size)], TileCells.empty(size), 0
    for number, cells in enumerate(parts):
        if number == kill_at:
            stream = SeamStream(tiles, size, iou=IOU, margin=MARGIN, finished=range(number), pieces=waiting)
        done = stream.add(number, TileCells.of_tile(number, cells, np.full((len(cells), 3), 7)))
        gone = set(map(tuple, done.settled.tolist()))
        keys = zip(waiting.tiles.tolist(), waiting.places.tolist(), strict=True)
        waiting = waiting.select(np.array([key not in gone for key in keys], bool))
        waiting = TileCells.concatenate([waiting, done.pieces])
        waiting = waiting.select(np.lexsort((waiting.places, waiting.tiles)))
        assert len(waiting) == stream.waiting_cells
        finished.append(done.finished)
        most = max(most, stream.waiting_cells)
    assert not stream.waiting_cells
    everything = TileCells.concatenate(finished)
    assert (everything.colours[~everything.joined] == 7).all()
    scores = everything.cells.scores
    order = np.lexsort((everything.places, everything.tiles, everything.joined, -scores.astype(float)))
    return replace(everything.cells.select(order), label_values=None), most


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("tile", "overlap"), [(128, 64), (160, 32)])
def test_a_stream_gives_the_cells_of_all_tiles_byte_by_byte(tile: int, overlap: int, seed: int) -> None:
    tiles = plan_tiles((330, 330), tile, overlap, 1.0)
    parts = messy(330, 110, tiles, seed)
    whole = merge_tiles(list(zip(tiles, parts, strict=True)), iou=IOU, margin=MARGIN)
    assert len(whole) > 50
    assert streamed(tiles, parts, (330, 330))[0].equals(whole)
    assert streamed(tiles, parts, (330, 330), kill_at=len(tiles) // 2)[0].equals(whole)


def test_only_the_cells_at_the_front_wait() -> None:
    truth = crowd(768, 32, (5, 15), seed=0)
    tiles = plan_tiles(truth.image_size, 192, 64, 1.0)
    rng = np.random.default_rng(0)
    parts = [seen_by(truth, tile, rng) for tile in tiles]
    found, most = streamed(tiles, parts, truth.image_size)
    assert found.equals(merge_tiles(list(zip(tiles, parts, strict=True)), iou=IOU, margin=MARGIN))
    assert len(found) == 576
    assert most < 190


def test_a_cell_of_many_tiles_waits_for_the_last() -> None:
    truth = InstanceMasks.from_crops((600, 600), [[30, 40]], [np.ones((500, 520), bool)], [2])
    tiles = plan_tiles(truth.image_size, 256, 64, 1.0)
    parts = [seen_by(truth, tile) for tile in tiles]
    found, _ = streamed(tiles, parts, truth.image_size)
    assert found.boxes.tolist() == truth.boxes.tolist()
    assert np.array_equal(found.masks[0], truth.masks[0])


def test_one_tile_needs_no_joining() -> None:
    truth = crowd(100, 25, (5, 11), seed=3)
    tiles = plan_tiles((100, 100), 256, 64, 1.0)
    assert streamed(tiles, [truth], (100, 100))[0].equals(merge_tiles([(tiles[0], truth)], iou=IOU, margin=MARGIN))

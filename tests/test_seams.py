from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.seams import merge_tiles, suppress
from napari_cellseg.model.inference.tiles import Tile, plan_tiles


def crowd(side: int, pitch: int, radius: tuple[float, float], seed: int) -> InstanceMasks:
    """Ellipses on a jittered grid: (side // pitch) ** 2 cells of three classes."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[np.arange(0, side - pitch + 1, pitch)] * 2), -1).reshape(-1, 2)
    axes = rng.uniform(*radius, (len(corners), 2))
    y, x = np.indices((pitch, pitch), np.float32) - (pitch - 1) / 2
    masks = [(x / a) ** 2 + (y / b) ** 2 <= 1 for a, b in axes]
    offsets = corners + rng.integers(-2, 3, (len(corners), 2))
    return InstanceMasks.from_crops((side, side), offsets, masks, rng.integers(1, 4, len(corners)))


def seen_by(truth: InstanceMasks, tile: Tile, rng: np.random.Generator | None = None) -> InstanceMasks:
    """What a perfect detector finds in a tile: each cell, cut at the tile's edges, with some score."""
    x0, y0, x1, y1 = tile.box
    boxes = truth.boxes
    touched = (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
    inside = truth.select(touched).shifted(-x0, -y0, (y1 - y0, x1 - x0)).shifted(x0, y0, truth.image_size)
    scores = np.ones(len(inside)) if rng is None else rng.uniform(0.3, 1, len(inside))
    return replace(inside, scores=scores)


def in_reading_order(cells: InstanceMasks) -> InstanceMasks:
    order = np.lexsort(cells.boxes.T)
    return replace(cells.select(order), scores=np.ones(len(cells)), label_values=None)


def merged(truth: InstanceMasks, tile: int, overlap: int, seed: int | None = 0) -> InstanceMasks:
    rng = None if seed is None else np.random.default_rng(seed)
    parts = [(t, seen_by(truth, t, rng)) for t in plan_tiles(truth.image_size, tile, overlap, 1.0)]
    return merge_tiles(parts, iou=0.5, margin=2)


def test_each_of_16000_cells_of_a_4096_px_image_appears_once_and_whole() -> None:
    truth = crowd(4096, 32, (5, 15), seed=0)
    assert len(truth) == 16_384
    found = merged(truth, 1024, 128)
    assert in_reading_order(found).equals(in_reading_order(truth))


@pytest.mark.parametrize(("tile", "overlap"), [(128, 40), (128, 64), (300, 40), (1000, 40)])
def test_any_grid_gives_the_same_cells(tile: int, overlap: int) -> None:
    truth = crowd(640, 32, (5, 15), seed=1)
    assert in_reading_order(merged(truth, tile, overlap)).equals(in_reading_order(truth))


def test_cells_larger_than_the_overlap_are_joined_from_their_pieces() -> None:
    truth = crowd(900, 150, (40, 70), seed=2)  # up to 140 px across, overlap 64, some cut on both sides
    assert in_reading_order(merged(truth, 256, 64, seed=None)).equals(in_reading_order(truth))


def test_a_cell_larger_than_a_tile_is_still_one_cell() -> None:
    truth = InstanceMasks.from_crops((600, 600), [[30, 40]], [np.ones((500, 520), bool)], [2])
    found = merged(truth, 256, 64, seed=None)
    assert found.boxes.tolist() == truth.boxes.tolist()
    assert np.array_equal(found.masks[0], truth.masks[0])
    assert found.class_ids.tolist() == [2]


def two_tiles() -> tuple[Tile, Tile]:
    """Return two tiles of a 100 x 160 px image that share 40 columns."""
    return (
        Tile((0, 0, 100, 100), (100, 100), (False, False, True, False)),
        Tile((60, 0, 160, 100), (100, 100), (True, False, False, False)),
    )


def cell(x: int, y: int, width: int, height: int, class_id: int = 1, score: float = 0.9) -> InstanceMasks:
    return InstanceMasks.from_crops((100, 160), [[x, y]], [np.ones((height, width), bool)], [class_id], [score])


def test_two_tiles_that_differ_on_class_and_outline_give_the_surer_cell() -> None:
    left, right = two_tiles()
    found = merge_tiles(
        [(left, cell(70, 10, 20, 20, class_id=1, score=0.6)), (right, cell(71, 11, 20, 20, class_id=3, score=0.7))],
        iou=0.5,
        margin=2,
    )
    assert found.class_ids.tolist() == [3]
    assert found.boxes.tolist() == [[71, 11, 91, 31]]


def test_a_cut_cell_gives_way_to_the_whole_one_even_when_it_scores_higher() -> None:
    left, right = two_tiles()
    found = merge_tiles(
        [(left, cell(85, 10, 15, 20, score=0.99)), (right, cell(85, 10, 30, 20, score=0.4))], iou=0.5, margin=2
    )
    assert found.boxes.tolist() == [[85, 10, 115, 30]]


def test_a_cut_cell_that_the_neighbour_saw_whole_and_did_not_take_for_a_cell_goes() -> None:
    left, right = two_tiles()
    nothing = InstanceMasks.empty((100, 160))
    assert len(merge_tiles([(left, cell(85, 10, 15, 20)), (right, nothing)], iou=0.5, margin=2)) == 0
    large = merge_tiles([(left, cell(40, 10, 60, 20)), (right, nothing)], iou=0.5, margin=2)
    assert large.boxes.tolist() == [[40, 10, 100, 30]]


def test_the_tile_that_sees_more_around_a_cell_decides_about_it() -> None:
    left, right = two_tiles()  # up to x = 100, and from 60 on
    near_the_left_tiles_edge = cell(84, 10, 10, 20, class_id=1, score=0.9)
    deeper = cell(83, 10, 12, 20, class_id=2, score=0.5)
    found = merge_tiles([(left, near_the_left_tiles_edge), (right, deeper)], iou=0.5, margin=2)
    assert found.class_ids.tolist() == [2]
    assert found.boxes.tolist() == [[83, 10, 95, 30]]
    nothing = InstanceMasks.empty((100, 160))
    assert len(merge_tiles([(left, near_the_left_tiles_edge), (right, nothing)], iou=0.5, margin=2)) == 0
    assert len(merge_tiles([(left, nothing), (right, deeper)], iou=0.5, margin=2)) == 1


def test_overlapping_cells_of_one_tile_both_stay() -> None:
    left, right = two_tiles()
    both = InstanceMasks.concatenate([cell(65, 10, 30, 30, score=0.9), cell(75, 20, 10, 10, score=0.8)])
    nothing = InstanceMasks.empty((100, 160))
    assert len(merge_tiles([(left, both), (right, nothing)], iou=0.5, margin=2)) == 2
    assert len(merge_tiles([(left, both), (right, both)], iou=0.5, margin=2)) == 2


def test_the_best_cell_comes_first_and_label_values_are_numbered() -> None:
    left, right = two_tiles()
    found = merge_tiles(
        [(left, cell(5, 5, 9, 9, score=0.2)), (right, cell(120, 5, 9, 9, score=0.8))], iou=0.5, margin=2
    )
    assert found.scores.tolist() == np.array([0.8, 0.2], np.float32).tolist()
    assert found.values.tolist() == [1, 2]


def test_no_cell_in_any_tile() -> None:
    left, right = two_tiles()
    nothing = InstanceMasks.empty((100, 160))
    assert len(merge_tiles([(left, nothing), (right, nothing)], iou=0.5, margin=2)) == 0


def test_suppression_looks_at_masks_not_boxes_and_at_classes_as_asked() -> None:
    diagonal = np.eye(20, dtype=bool)
    crossing = InstanceMasks.from_crops((50, 50), [[5, 5], [5, 5]], [diagonal, diagonal[::-1]], [1, 1], [0.9, 0.8])
    assert len(suppress(crossing, 0.5, across_classes=True)) == 2
    twice = InstanceMasks.from_crops((50, 50), [[5, 5], [5, 5]], [diagonal, diagonal], [2, 1], [0.8, 0.9])
    assert len(suppress(twice, 0.5, across_classes=False)) == 2
    assert suppress(twice, 0.5, across_classes=True).class_ids.tolist() == [1]


def test_a_cell_that_overlaps_a_better_one_is_trusted_less() -> None:
    square = np.ones((10, 10), bool)
    cells = InstanceMasks.from_crops((50, 50), [[0, 0], [5, 0], [30, 30]], [square] * 3, [1, 2, 1], [0.6, 0.9, 0.8])
    found = suppress(cells, 0.5, across_classes=True)
    third = np.exp(-((1 / 3) ** 2) / 0.1)  # IoU 50 / 150
    assert found.scores.tolist() == pytest.approx([0.6 * third, 0.9, 0.8])
    assert suppress(cells, 0.5, across_classes=False).scores.tolist() == pytest.approx([0.6, 0.9, 0.8])


def test_a_suppressed_cell_suppresses_nothing() -> None:
    chain = InstanceMasks.from_crops(
        (50, 50), [[0, 0], [4, 0], [8, 0]], [np.ones((10, 20), bool)] * 3, [1, 1, 1], [0.9, 0.8, 0.7]
    )
    found = suppress(chain, 0.5, across_classes=True)
    assert found.boxes[:, 0].tolist() == [0, 8]
    assert found.scores[1] == pytest.approx(0.7 * np.exp(-((12 / 28) ** 2) / 0.1))

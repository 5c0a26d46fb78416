from __future__ import annotations

import numpy as np
import pytest

from napari_cellseg.model.inference.tiles import network_scale, plan_tiles


@pytest.mark.parametrize("size", [(1, 1), (33, 86), (256, 257), (1000, 1000), (512, 20_000), (699, 1301)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 1.37])
def test_tiles_cover_the_image_and_stay_inside(size: tuple[int, int], scale: float) -> None:
    covered = np.zeros(size, bool)
    for tile in plan_tiles(size, 512, 128, scale):
        x0, y0, x1, y1 = tile.box
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]
        assert max(tile.size) <= 512
        assert tile.scale == pytest.approx((scale, scale), abs=max(1, scale) / min(x1 - x0, y1 - y0))
        assert tile.inner == (x0 > 0, y0 > 0, x1 < size[1], y1 < size[0])
        covered[y0:y1, x0:x1] = True
    assert covered.all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 1.37])
@pytest.mark.parametrize("length", [600, 1000, 4096, 5001])
def test_a_cell_that_fits_into_the_overlap_lies_whole_in_some_tile(length: int, scale: float) -> None:
    tiles = plan_tiles((length, 50), 512, 128, scale)
    cell = int(128 / scale) - 4
    for start in range(0, length - cell, 3):
        box = np.array([[0, start, 50, start + cell]], np.int32)
        assert any(t.box[1] <= start and start + cell <= t.box[3] and not t.cut(box, 2)[0] for t in tiles)


def test_tiles_are_as_few_and_as_small_as_can_be_and_only_the_last_is_shorter() -> None:
    tiles = plan_tiles((1000, 1000), 512, 64, 1.0)
    assert len(tiles) == 9
    assert {t.size[0] for t in tiles} == {384, 360}
    assert sorted({t.box[0] for t in tiles}) == [0, 320, 640]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("tile", [512, 1024, 1600])
def test_a_pixel_has_the_same_place_in_its_coarsest_feature_in_every_tiling(tile: int, scale: float) -> None:
    starts = [t.box[0] * scale for t in plan_tiles((50, 5001), tile, 128, scale)]
    assert all(start % 32 == 0 for start in starts)


def test_the_cores_of_the_tiles_cover_the_image_once() -> None:
    covered = np.zeros((699, 1301), int)
    for tile in plan_tiles(covered.shape, 512, 128, 1.37):  # type: ignore[arg-type]
        assert tile.core is not None
        x0, y0, x1, y1 = tile.core
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()


def test_the_depth_is_the_distance_to_the_nearest_inner_edge() -> None:
    first, second = plan_tiles((100, 800), 512, 128, 1.0)
    boxes = np.array([[10, 0, 20, 9], [440, 10, 450, 20], [300, 0, 500, 9]], np.int32)
    assert (first.box, second.box) == ((0, 0, 480, 100), (320, 0, 800, 100))
    assert first.depth(boxes).tolist() == [460, 30, -20]
    assert second.depth(boxes).tolist() == [-310, 120, -20]


def test_an_image_of_one_tile_is_not_enlarged_to_it() -> None:
    (tile,) = plan_tiles((33, 86), 512, 128, 2.0)
    assert tile.box == (0, 0, 86, 33)
    assert tile.size == (66, 172)
    assert tile.inner == (False,) * 4


def test_boxes_at_inner_edges_are_cut_but_not_those_at_the_edge_of_the_image() -> None:
    tile = plan_tiles((100, 1000), 512, 128, 1.0)[0]
    assert tile.box == (0, 0, 448, 100)
    boxes = np.array([[0, 0, 9, 9], [430, 10, 448, 20], [430, 10, 446, 20], [10, 91, 20, 100]], np.int32)
    assert tile.cut(boxes, 2).tolist() == [False, True, False, False]


def test_scale_follows_the_pixel_size_when_both_are_known_and_believable() -> None:
    assert network_scale(2.0, 0.25, 0.5)[0] == 4.0
    assert network_scale(2.0, None, 0.5)[0] == 2.0
    assert network_scale(2.0, 0.25, None)[0] == 2.0
    assert network_scale(2.0, 0.25, 352.8)[0] == 2.0
    assert "implausible" in network_scale(2.0, 0.25, 352.8)[1]
    assert network_scale(2.0, 0.25, 0.5, wanted=1.5)[0] == 1.5

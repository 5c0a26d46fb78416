import tracemalloc
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.polygon_mask import decode_polygons
from napari_cellseg.formats.rle import decode, decode_all


def frame(rings: Any, image_size: tuple[int, int]) -> np.ndarray:
    found = np.zeros(image_size, bool)
    decoded = decode_polygons(rings, image_size)
    if decoded is not None:
        (x0, y0, x1, y1), mask = decoded
        found[y0:y1, x0:x1] = mask
    return found


def reference(rings: Any, image_size: tuple[int, int]) -> np.ndarray:
    merged = coco_mask.merge(coco_mask.frPyObjects(rings, *image_size))
    return np.asarray(coco_mask.decode(merged), bool)


def blob(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> list[float]:
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 40))))
    distance = radius * rng.uniform(0.3, 1, len(angle))
    return np.stack([centre[0] + distance * np.cos(angle), centre[1] + distance * np.sin(angle)], 1).ravel().tolist()


def test_polygons_inside_are_filled_as_pycocotools_does() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        rings = [blob(rng, tuple(rng.uniform(30, 60, 2)), 25) for _ in range(int(rng.integers(1, 3)))]
        np.testing.assert_array_equal(frame(rings, (90, 95)), reference(rings, (90, 95)))


def test_polygons_that_leave_the_image_lose_what_is_outside() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        rings = [blob(rng, tuple(rng.uniform(-20, 120, 2)), 80)]
        shifted = [(np.array(rings[0]) + 200).tolist()]
        whole = reference(shifted, (500, 500))[200:290, 200:295]
        # The edge's walk starts at the border, so that a pixel on the edge may differ.
        assert np.count_nonzero(frame(rings, (90, 95)) ^ whole) <= 0.01 * whole.size


def test_a_corner_far_away_takes_neither_memory_nor_time() -> None:
    tracemalloc.start()
    mask = frame([[10, 10, 9e5, 10, 9e5, 40, 10, 40]], (96, 96))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask[11:39, 11:].all()
    assert not mask[:9].any()
    assert peak < 10 * 2**20


def test_a_polygon_wholly_outside_has_no_pixel() -> None:
    assert decode_polygons([[200, 200, 300, 200, 300, 300]], (96, 96)) is None
    assert not frame([[-10, -10, -5, -10, -5, -5]], (96, 96)).any()


@pytest.mark.parametrize(
    ("rings", "words"),
    [
        ([[1, 1, 1e300, 1, 5, 5]], "coordinate 1e.300"),
        ([[1, 1, 5e7, 1, 5, 5]], "coordinate 5e.07"),
        ([[1, 1, float("nan"), 1, 5, 5]], "coordinate nan"),
        ([[1, 1, -float("inf"), 1, 5, 5]], "coordinate -inf"),
        ([[1, 1, 10**400, 1, 5, 5]], "too large"),
        ([[1, 1, "2", 1, 5, 5]], "numbers"),
        ([[1, 1, True, 1, 5, 5]], "numbers"),
        ([[1, 1, 2, 2]], "three or more"),
        ([[1, 1, 2, 2, 3, 3, 4]], "three or more"),
        ([[[1, 1], [2, 2], [3, 3]]], "three or more"),
        ([], "no segmentation"),
        ("abc", "no segmentation"),
        ([[0, 0, 90000, 1] * 200], "outline is"),
    ],
)
def test_absurd_polygons_are_refused(rings: Any, words: str) -> None:
    with pytest.raises(AnnotationError, match=words):
        decode_polygons(rings, (100, 90_000))


def test_a_few_characters_cannot_claim_a_huge_box() -> None:
    size = (60_000, 60_000)
    counts = coco_mask.frPyObjects({"size": list(size), "counts": [0, 60_000 * 60_000]}, *size)["counts"]
    with pytest.raises(AnnotationError, match="box of a cell has 3600000000 px"):
        decode(counts, size)
    size = (11_000, 11_000)
    counts = coco_mask.frPyObjects({"size": list(size), "counts": [0, 121_000_000]}, *size)["counts"]
    with pytest.raises(AnnotationError, match="boxes of all cells have 1210000000 px"):
        decode_all([counts] * 10, [size] * 10)


def test_half_a_surrogate_pair_in_counts_is_refused() -> None:
    with pytest.raises(AnnotationError, match="COCO's alphabet"):
        decode("0\ud800", (3, 3))


def test_masks_of_many_characters_are_read_in_groups() -> None:
    mask = np.asfortranarray(np.random.default_rng(0).random((300, 300)) > 0.5)
    counts = coco_mask.encode(mask.astype(np.uint8))["counts"]
    many = decode_all([counts] * 100, [(300, 300)] * 100)
    assert len(counts) * 100 > 2**22
    assert all(crop is not None and np.array_equal(crop[1], mask) for crop in many)

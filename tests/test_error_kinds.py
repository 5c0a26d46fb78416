"""The kinds of errors of predicted cells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellseg.instances import InstanceMasks
from training.error_kinds import ErrorKinds, error_kinds
from training.metrics import overlaps

SIZE = (60, 100)
LEFT, RIGHT = (10, 10, 30, 30), (30, 10, 50, 30)  # two cells that touch: x0, y0, x1, y1


def cells(*boxes: tuple[int, int, int, int], classes: tuple[int, ...] | None = None) -> InstanceMasks:
    masks = [np.ones((y1 - y0, x1 - x0), bool) for x0, y0, x1, y1 in boxes]
    offsets = np.array([box[:2] for box in boxes]).reshape(-1, 2)
    return InstanceMasks.from_crops(
        SIZE, offsets, masks, classes or (1,) * len(boxes), np.linspace(0.9, 0.5, len(boxes))
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cells(LEFT, RIGHT), ErrorKinds(right=2)),
        (cells(LEFT, RIGHT, classes=(1, 2)), ErrorKinds(right=1, wrong_class=1)),
        (cells(), ErrorKinds(missed=2)),
        (cells(LEFT), ErrorKinds(right=1, missed=1)),
        (cells((10, 10, 50, 30)), ErrorKinds(merged=2)),
        (cells((10, 10, 42, 30)), ErrorKinds(right=1, merged=1)),
        (cells(LEFT, (30, 10, 50, 20), (30, 20, 50, 30)), ErrorKinds(right=1, split=1)),
        (cells(LEFT, (30, 10, 38, 30)), ErrorKinds(right=1, outline=1)),
        (cells(LEFT, RIGHT, (70, 40, 80, 50)), ErrorKinds(right=2, invented=1)),
        (cells((10, 10, 30, 24), (10, 24, 30, 30), RIGHT), ErrorKinds(right=2, doubled=1)),
        (cells(LEFT, RIGHT, (32, 12, 40, 20)), ErrorKinds(right=2, doubled=1)),  # painted over by the surer one
        (cells((0, 10, 11, 30), RIGHT), ErrorKinds(right=1, missed=1, invented=1)),  # a touch is no place
    ],
)
def test_each_kind_is_told_apart(found: InstanceMasks, expected: ErrorKinds) -> None:
    assert error_kinds(overlaps(cells(LEFT, RIGHT), found)) == expected


def test_without_cells_only_what_is_invented_counts() -> None:
    assert error_kinds(overlaps(cells(), cells())) == ErrorKinds()
    assert error_kinds(overlaps(cells(), cells(LEFT))) == ErrorKinds(invented=1)


@pytest.mark.parametrize("seed", range(20))
def test_the_kinds_of_true_cells_add_up_and_matches_are_those_of_panoptic_quality(seed: int) -> None:
    from training.metrics import panoptic_counts

    rng = np.random.default_rng(seed)

    def some(count: int) -> InstanceMasks:
        corners = rng.integers(0, (80, 40), (count, 2))
        sizes = rng.integers(3, 20, (count, 2))
        boxes = [(int(x), int(y), int(x + w), int(y + h)) for (x, y), (w, h) in zip(corners, sizes, strict=True)]
        return cells(*boxes, classes=tuple(int(c) for c in rng.integers(1, 4, count)))

    o = overlaps(some(25), some(30))
    kinds, counts = error_kinds(o), panoptic_counts(o)
    assert kinds.right + kinds.wrong_class == counts.matched
    assert kinds.merged + kinds.split + kinds.outline + kinds.missed == counts.missed
    assert kinds.doubled + kinds.invented <= counts.false


def test_numbers_of_images_add_up_and_read_as_a_sentence() -> None:
    total = ErrorKinds(right=1200, missed=3) + ErrorKinds(right=34, merged=2, invented=1)
    assert total == ErrorKinds(right=1234, merged=2, missed=3, invented=1)
    assert str(total).startswith("of 1,239 ground-truth cells 1,234 right, ")

"""`InstanceMasks`: invariants and operations."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cellseg.instances import InstanceMasks, intersections


def dense(instances: InstanceMasks) -> np.ndarray:
    frames = np.zeros((len(instances), *instances.image_size), bool)
    for frame, (x0, y0, x1, y1), mask in zip(frames, instances.boxes, instances.masks, strict=True):
        frame[y0:y1, x0:x1] = mask
    return frames


@st.composite
def cells(draw: st.DrawFn, size: tuple[int, int] = (20, 25)) -> InstanceMasks:
    count = draw(st.integers(0, 6))
    masks = [
        draw(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), fill=st.just(True)))
        for _ in range(count)
    ]
    offsets = [(draw(st.integers(-8, size[1] + 2)), draw(st.integers(-8, size[0] + 2))) for _ in range(count)]
    class_ids = [draw(st.integers(1, 4)) for _ in range(count)]
    scores = [draw(st.floats(0, 1, width=32)) for _ in range(count)]
    return InstanceMasks.from_crops(size, np.array(offsets).reshape(-1, 2), masks, np.array(class_ids, int), scores)


@given(cells())
@settings(max_examples=150, deadline=None)
def test_crops_are_clipped_tightened_and_dropped_when_nothing_is_left(instances: InstanceMasks) -> None:
    assert instances.is_tight()
    assert all(frame.any() for frame in dense(instances))
    assert instances.areas.tolist() == dense(instances).sum((1, 2)).tolist()
    assert (instances.values[:-1] < instances.values[1:]).all()


def test_a_crop_that_leaves_the_image_keeps_its_pixels_inside() -> None:
    mask = np.arange(12).reshape(3, 4) % 2 == 0
    for x, y in ((-2, -1), (8, 8), (-3, 5), (3, 9)):
        frame = np.zeros((30, 30), bool)
        frame[10 + y : 13 + y, 10 + x : 14 + x] = mask
        instances = InstanceMasks.from_crops((10, 10), [(x, y)], [mask], [1])
        found = dense(instances).any(0) if len(instances) else np.zeros((10, 10), bool)
        np.testing.assert_array_equal(found, frame[10:20, 10:20])


@given(cells())
@settings(max_examples=80, deadline=None)
def test_pickling_keeps_every_bit(instances: InstanceMasks) -> None:
    assert pickle.loads(pickle.dumps(instances)).equals(instances)


@given(cells(), cells())
@settings(max_examples=80, deadline=None)
def test_intersections_agree_with_dense_masks(first: InstanceMasks, second: InstanceMasks) -> None:
    shared = np.einsum("ihw,jhw->ij", dense(first).astype(int), dense(second).astype(int))
    i, j, pixels = intersections(first, second)
    found = np.zeros_like(shared)
    found[i, j] = pixels
    np.testing.assert_array_equal(found, shared)
    assert (pixels > 0).all()


def test_paste_puts_the_surest_cell_on_top() -> None:
    masks = [np.ones((2, 2), bool)] * 2
    instances = InstanceMasks.from_crops((3, 3), [(0, 0), (1, 1)], masks, [1, 1], [0.9, 0.5], [7, 8])
    assert instances.paste().tolist() == [[7, 7, 0], [7, 7, 8], [0, 8, 8]]
    assert instances.paste(values=[2, 1], dtype=np.uint8).dtype == np.uint8


def test_select_concatenate_and_shift() -> None:
    masks = [np.ones((2, 3), bool)] * 3
    instances = InstanceMasks.from_crops((9, 9), [(0, 0), (3, 3), (6, 6)], masks, [1, 2, 3], [0.1, 0.2, 0.3])
    picked = instances.select([2, 0])
    assert picked.class_ids.tolist() == [3, 1]
    assert instances.select(instances.scores > 0.15).class_ids.tolist() == [2, 3]
    assert InstanceMasks.concatenate([instances.select([0]), instances.select([1, 2])]).equals(instances)
    moved = instances.shifted(5, -4, (9, 9))
    assert moved.boxes.tolist() == [[8, 0, 9, 1]]  # one leaves at the top, one at the right, one is clipped
    assert moved.values.tolist() == [2]
    with pytest.raises(ValueError, match="one image size"):
        InstanceMasks.concatenate([instances, InstanceMasks.empty((3, 3))])


def test_empty_is_empty_in_every_way() -> None:
    empty = InstanceMasks.empty((4, 5))
    assert len(empty) == 0
    assert not empty.paste().any()
    assert empty.select([]).equals(empty)
    assert pickle.loads(pickle.dumps(empty)).equals(empty)
    assert [len(part) for part in intersections(empty, empty)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": [[0, 0, 2, 2], [0, 0, 1, 1]]}, "2 boxes for 1 masks"),
        ({"boxes": [[0, 0, 3, 2]]}, "another size"),
        ({"boxes": [[4, 4, 6, 6]]}, "leaves the 5 x 5 image"),
        ({"boxes": [[-1, 0, 1, 2]]}, "leaves"),
        ({"class_ids": [0]}, "start at 1"),
        ({"scores": [1.5]}, "scores"),
        ({"scores": [np.nan]}, "scores"),
        ({"masks": (np.ones((2, 2), np.uint8),)}, "bool"),
        ({"label_values": [1, 2]}, "label_values"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    good = {
        "image_size": (5, 5),
        "boxes": [[0, 0, 2, 2]],
        "class_ids": [1],
        "scores": [0.5],
        "masks": (np.ones((2, 2), bool),),
    }
    InstanceMasks(**good)
    with pytest.raises(ValueError, match=message):
        InstanceMasks(**{**good, **changes})

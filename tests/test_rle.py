"""COCO RLE of crops: byte-identical to pycocotools, and exact both ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.rle import decode, decode_all, encode_all
from napari_cellseg.instances import InstanceMasks


def full_frame(instances: InstanceMasks, i: int) -> np.ndarray:
    frame = np.zeros(instances.image_size, np.uint8)
    x0, y0, x1, y1 = instances.boxes[i]
    frame[y0:y1, x0:x1] = instances.masks[i]
    return frame


def reference(frame: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(frame))["counts"].decode("ascii")


@st.composite
def placed_crops(draw: st.DrawFn) -> InstanceMasks:
    """Draw a few crops anywhere in a small frame, touching its borders often, empty and full ones among them."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    boxes, masks = [], []
    for _ in range(draw(st.integers(0, 5))):
        y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        y1, x1 = draw(st.integers(y0 + 1, height)), draw(st.integers(x0 + 1, width))
        boxes.append((x0, y0, x1, y1))
        masks.append(draw(hnp.arrays(bool, (y1 - y0, x1 - x0))))
    count = len(masks)
    return InstanceMasks(
        image_size=(height, width),
        boxes=np.array(boxes),
        class_ids=np.ones(count, int),
        scores=np.ones(count),
        masks=tuple(masks),
    )


@given(placed_crops())
@settings(max_examples=300, deadline=None)
def test_counts_are_byte_identical_to_pycocotools(instances: InstanceMasks) -> None:
    expected = [reference(full_frame(instances, i)) for i in range(len(instances))]
    assert encode_all(instances) == expected


@given(placed_crops())
@settings(max_examples=150, deadline=None)
def test_decode_returns_the_tight_crop(instances: InstanceMasks) -> None:
    for i, counts in enumerate(encode_all(instances)):
        decoded = decode(counts, instances.image_size)
        if decoded is None:
            assert not instances.masks[i].any()
            continue
        box, crop = decoded
        again = InstanceMasks(
            image_size=instances.image_size,
            boxes=box[None],
            class_ids=np.ones(1, int),
            scores=np.ones(1),
            masks=(crop,),
        )
        assert again.is_tight()
        np.testing.assert_array_equal(full_frame(again, 0), full_frame(instances, i))


@given(st.lists(placed_crops(), max_size=6))
@settings(max_examples=100, deadline=None)
def test_many_masks_of_different_frames_decode_as_one_by_one(images: list[InstanceMasks]) -> None:
    pairs = [(counts, image.image_size) for image in images for counts in encode_all(image)]
    together = decode_all([counts for counts, _ in pairs], [size for _, size in pairs])
    for (counts, size), found in zip(pairs, together, strict=True):
        frame = coco_mask.decode({"size": list(size), "counts": counts.encode()})
        if found is None:
            assert not frame.any()
            continue
        (x0, y0, x1, y1), crop = found
        assert frame.sum() == crop.sum()
        np.testing.assert_array_equal(frame[y0:y1, x0:x1], crop)


@pytest.mark.parametrize("size", [(1, 70_000), (70_000, 1), (2000, 3000), (5, 5)])
@pytest.mark.parametrize("where", ["first", "last", "all", "checker"])
def test_long_runs_and_image_borders(size: tuple[int, int], where: str) -> None:
    frame = np.zeros(size, np.uint8)
    if where == "first":
        frame[0, 0] = 1
    elif where == "last":
        frame[-1, -1] = 1
    elif where == "all":
        frame[:] = 1
    else:
        frame[::2, ::3] = 1
    instances = InstanceMasks.from_crops(size, [(0, 0)], [frame], [1])
    counts = encode_all(instances)
    assert counts == [reference(frame)]
    box, crop = decode(counts[0], size) or pytest.fail("no pixel")
    np.testing.assert_array_equal(box, instances.boxes[0])
    np.testing.assert_array_equal(crop, instances.masks[0])


def test_run_lengths_and_bytes_decode_as_strings_do() -> None:
    as_list = decode([4, 2, 6], (3, 4))
    as_text = decode(reference(np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], np.uint8)), (3, 4))
    as_bytes = decode(reference(np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], np.uint8)).encode(), (3, 4))
    assert as_list is not None
    assert as_list[0].tolist() == [1, 1, 2, 3]
    for other in (as_text, as_bytes):
        assert other is not None
        np.testing.assert_array_equal(other[0], as_list[0])
        np.testing.assert_array_equal(other[1], as_list[1])


def test_a_zero_run_in_the_middle_is_allowed() -> None:
    box, crop = decode([4, 1, 0, 1, 6], (3, 4)) or pytest.fail("no pixel")
    assert box.tolist() == [1, 1, 2, 3]
    assert crop.all()


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [
        ("", (3, 4), "end in the middle"),
        ("o", (3, 4), "end in the middle"),
        ("4 2", (3, 4), "alphabet"),
        ("zz", (3, 4), "alphabet"),
        ("4\u00e4", (3, 4), "alphabet"),
        ("oooooooo1", (3, 4), "characters"),
        ([4, 2], (3, 4), "cover 6 px"),
        ([4, -2, 10], (3, 4), "whole numbers"),
        ([4, 2.0, 6], (3, 4), "whole numbers"),
        ([], (0, 4), "0 x 4"),
        ([2**33], (2**17, 2**16), "cannot describe"),
    ],
)
def test_wrong_counts_are_one_clear_error(counts: object, size: tuple[int, int], message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        decode(counts, size)  # type: ignore[arg-type]


@given(st.text(alphabet=[chr(c) for c in range(48, 112)], max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_decodes_or_is_an_annotation_error(text: str) -> None:
    try:
        decode(text, (30, 20))
    except AnnotationError as error:
        assert "RLE" in str(error)  # noqa: PT017

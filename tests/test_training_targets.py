from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cellseg.errors import TrainingError
from training.targets import Target, targets_from_maps, validate_target

IMAGE = torch.zeros((3, 30, 40))


def maps() -> torch.Tensor:
    class_maps = torch.zeros((3, 30, 40), dtype=torch.int32)
    class_maps[0, 2:6, 3:10] = 4
    class_maps[0, 20:22, 30:40] = 1
    class_maps[0, 25, 30] = 1  # one cell, two parts
    class_maps[2, 0, 0] = 2
    return class_maps


def test_boxes_are_tight_half_open_and_ordered() -> None:
    target = targets_from_maps(maps())
    assert target["boxes"].tolist() == [[30, 20, 40, 26], [3, 2, 10, 6], [0, 0, 1, 1]]
    assert target["labels"].tolist() == [1, 1, 3]
    assert target["values"].tolist() == [1, 4, 2]
    validate_target(IMAGE, target, 3)


def test_no_cell_is_a_valid_target() -> None:
    target = targets_from_maps(torch.zeros((2, 30, 40), dtype=torch.int32))
    assert target["boxes"].shape == (0, 4)
    validate_target(IMAGE, target, 2)


def test_boxes_agree_with_each_cells_own_mask() -> None:
    rng = np.random.default_rng(0)
    class_maps = torch.from_numpy(rng.integers(0, 30, (2, 64, 64)).astype(np.int32))
    target = targets_from_maps(class_maps)
    for box, label, value in zip(target["boxes"], target["labels"], target["values"], strict=True):
        ys, xs = torch.nonzero(class_maps[label - 1] == value, as_tuple=True)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def broken(**changes) -> Target:
    target = targets_from_maps(maps())
    return {**target, **{name: change(target[name].clone()) for name, change in changes.items()}}


def put(index, value):
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor[index] = value
        return tensor

    return change


WRONG = {
    "label 0": (broken(labels=put(0, 0)), "class 0"),
    "label -1": (broken(labels=put(0, -1)), "class -1"),
    "label above K": (broken(labels=put(2, 4)), "class 4"),
    "value 0": (broken(values=put(0, 0)), "value 0"),
    "box outside": (broken(boxes=put((0, 2), 41)), "30 x 40"),
    "box empty": (broken(boxes=put((0, 2), 30)), "empty"),
    "box NaN": (broken(boxes=put((0, 0), torch.nan)), "nan"),
    "box shifted": (broken(boxes=put((1, 0), 4)), "does not fit"),
    "cell without pixels": (broken(values=put(1, 3)), "no pixel"),
    "cell of another class": (broken(labels=put(1, 2)), "no pixel"),
    "float labels": (broken(labels=lambda t: t.float()), "float32"),
    "boxes of another number": (broken(boxes=lambda t: t[:2]), "boxes"),
    "maps of another size": (broken(class_maps=lambda t: t[:, :29]), "class_maps"),
    "maps of another K": (broken(class_maps=lambda t: t[:2]), "class_maps"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_target_is_stopped_and_the_image_named(name: str) -> None:
    target, words = WRONG[name]
    with pytest.raises(TrainingError, match=f"tile_7.*{words}"):
        validate_target(IMAGE, target, 3, "tile_7")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_image_is_stopped(value: float) -> None:
    image = IMAGE.clone()
    image[1, 2, 3] = value
    with pytest.raises(TrainingError, match="NaN or infinite"):
        validate_target(image, targets_from_maps(maps()), 3)


def test_an_image_of_another_kind_is_stopped() -> None:
    for image in (IMAGE[:1], IMAGE[0], IMAGE.to(torch.uint8)):
        with pytest.raises(TrainingError, match="the image is"):
            validate_target(image, targets_from_maps(maps()), 3)


def test_a_missing_part_is_named() -> None:
    target = targets_from_maps(maps())
    del target["values"]
    with pytest.raises(TrainingError, match="values"):
        validate_target(IMAGE, target, 3)

"""The caps on proposals and cells belong to squares of the image: what a tile shows elsewhere does not matter."""

from __future__ import annotations

import pytest
import torch
from model_cases import tiny_config

from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN


def make(**changes: object) -> CellMaskRCNN:
    torch.manual_seed(0)
    flat = {"rpn__nms": 1.0, "rpn__min_score": 0.0, "rpn__pre_nms_test": 80, "rpn__post_nms_test": 40}
    return build_model(tiny_config(**{**flat, **changes})).eval()


def proposals(model: CellMaskRCNN, height: int, width: int) -> int:
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    batch = model._batch([image], [(height, width)])
    with torch.no_grad():
        return len(model.rpn(batch, model.backbone(batch.tensors))[0][0])


@pytest.mark.parametrize(("size", "expected"), [((128, 128), 40), ((128, 256), 80), ((64, 128), 20), ((1, 1), 1)])
def test_the_cap_on_proposals_grows_with_the_area_of_the_tile(size: tuple[int, int], expected: int) -> None:
    assert proposals(make(rpn__cap_side=128), *size) == expected


def test_a_crowd_does_not_take_the_proposals_of_other_squares() -> None:
    model = make(rpn__cap_side=32, rpn__pre_nms_test=5)
    scores = torch.zeros(4 * 9)
    scores[:18] = 3  # all anchors of the two left places are surer than all of the right ones
    x = torch.tensor([8.0, 24.0, 40.0, 56.0]).repeat_interleave(9)
    anchors = torch.stack([x - 12, torch.full_like(x, 4), x + 12, torch.full_like(x, 28)], 1)
    chosen = model.rpn._best(scores, anchors, 0.0, (32, 64))
    assert x[chosen].tolist() == [8.0] * 5 + [40.0] * 5
    assert len(model.rpn._best(scores, anchors, 0.6, (32, 64))) == 5
    half = model.rpn._best(scores, anchors, 0.0, (32, 48))  # half of the second square: 3 of 5
    assert x[half].tolist() == [8.0] * 5 + [40.0] * 3


def test_one_square_for_the_whole_tile_is_the_cap_per_tile() -> None:
    one, per_tile = (make(rpn__cap_side=side, rpn__pre_nms_test=50) for side in (128, None))
    scores = torch.rand(2304, generator=torch.Generator().manual_seed(2))
    anchors = torch.rand((2304, 4), generator=torch.Generator().manual_seed(3)) * 128
    chosen = [model.rpn._best(scores, anchors, 0.0, (128, 128)) for model in (one, per_tile)]
    assert torch.equal(*chosen)


def test_without_a_side_every_tile_has_the_same_cap() -> None:
    model = make(rpn__cap_side=None)
    assert [proposals(model, *size) for size in ((64, 128), (128, 256))] == [40, 40]


def test_the_caps_of_training_are_per_crop() -> None:
    model = make(rpn__cap_side=64, rpn__post_nms_train=30)
    model.rpn.train()
    assert proposals(model, 128, 128) == 30


def test_a_tile_larger_than_768_px_may_have_more_cells() -> None:
    heads = make(rpn__cap_side=32, detection__per_image=10).roi_heads
    assert [heads._most_cells(size) for size in ((32, 32), (768, 768), (768, 1536))] == [10, 10, 20]
    assert make(rpn__cap_side=None, detection__per_image=10).roi_heads._most_cells((768, 1536)) == 10


def test_detections_reach_into_the_core_of_the_tile() -> None:
    model = make(rpn__post_nms_test=200, detection__min_score=0.0, detection__nms=0.9)
    image = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    all_of_it, (inside,) = model.detect([image], [(0, 0, 128, 128)])[0], model.detect([image], [(0, 0, 40, 128)])
    assert len(all_of_it) == len(model.detect([image])[0]) > len(inside) > 0
    assert all_of_it.boxes[:, 0].max() > 60 > inside.boxes[:, 0].max()


def test_a_file_from_before_the_setting_keeps_its_number_for_tiles_of_768_px() -> None:
    data = tiny_config().model_dump(mode="json")
    del data["rpn"]["cap_side"]
    assert ModelConfig.parse(data).rpn.cap_side == 768

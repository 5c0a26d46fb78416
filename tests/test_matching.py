"""Sparse matching gives torchvision's answers, bit for bit, and stays small."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from napari_cellseg.model.network import matching
from napari_cellseg.model.network.matching import BELOW, AnchorGrid, match_anchors, match_boxes

PYRAMID = ((((16,), (32,), (64,), (128,)), (4, 8, 16, 32)), (((16, 24, 36), (54, 80, 120)), (8, 16)))


def make_anchors(sizes, strides, size=(256, 320)) -> tuple[Tensor, list[AnchorGrid]]:
    generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    maps = [torch.zeros(1, 1, size[0] // s, size[1] // s) for s in strides]
    anchors = generator(ImageList(torch.zeros(1, 3, *size), [size]), maps)[0]
    grids = [
        AnchorGrid(base, tuple(m.shape[-2:]), (s, s))
        for base, m, s in zip(generator.cell_anchors, maps, strides, strict=True)
    ]
    return anchors, grids


def random_boxes(count: int, seed: int, whole: bool) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([260.0, 200.0])
    boxes = torch.cat([corner, corner + 2 + 55 * torch.rand(count, 2, generator=rng)], 1)
    return boxes.round() if whole else boxes


@pytest.mark.parametrize(("sizes", "strides"), PYRAMID)
@pytest.mark.parametrize("count", [1, 7, 150])
@pytest.mark.parametrize("whole", [True, False])
def test_anchor_labels_equal_torchvisions_matcher(sizes, strides, count, whole):
    anchors, grids = make_anchors(sizes, strides)
    boxes = random_boxes(count, seed=count, whole=whole)
    boxes = torch.cat([boxes, boxes[:2]])  # the same box twice: a tie that the lower index wins
    expected = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(boxes, anchors))
    assert torch.equal(match_anchors(anchors, grids, boxes, 0.7, 0.3), expected)


def test_small_blocks_change_nothing(monkeypatch):
    anchors, grids = make_anchors(*PYRAMID[0])
    boxes = random_boxes(60, seed=3, whole=True)
    expected = match_anchors(anchors, grids, boxes, 0.6, 0.3)
    monkeypatch.setattr(matching, "_PAIRS", 500)
    assert torch.equal(match_anchors(anchors, grids, boxes, 0.6, 0.3), expected)


def test_cells_at_the_border_and_larger_than_every_anchor():
    anchors, grids = make_anchors(*PYRAMID[0])
    boxes = torch.tensor(
        [[0.0, 0, 320, 256], [0, 0, 3, 3], [317, 253, 320, 256], [-5, -5, 20, 20], [300, 240, 340, 290]]
    )
    expected = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(boxes, anchors))
    assert torch.equal(match_anchors(anchors, grids, boxes, 0.7, 0.3), expected)


def test_an_image_without_cells_is_all_background():
    anchors, grids = make_anchors(*PYRAMID[1])
    assert (match_anchors(anchors, grids, torch.zeros(0, 4), 0.7, 0.3) == BELOW).all()
    assert (match_boxes(anchors, torch.zeros(0, 4), 0.5, 0.5) == BELOW).all()


def test_only_a_small_part_of_all_pairs_is_compared():
    _, grids = make_anchors(*PYRAMID[0])
    boxes = random_boxes(150, seed=1, whole=False)
    pairs = sum(len(anchor) for anchor, _ in matching._touching(grids, boxes))
    assert pairs < 0.1 * sum(map(len, grids)) * len(boxes)


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.6, 0.3)])
def test_proposal_labels_equal_torchvisions_matcher(thresholds, monkeypatch):
    monkeypatch.setattr(matching, "_PAIRS", 4000)  # several blocks
    boxes = random_boxes(80, seed=5, whole=True)
    proposals = boxes[torch.arange(400) % 80] + torch.randn(400, 4, generator=torch.Generator().manual_seed(0)) * 4
    expected = Matcher(*thresholds)(box_iou(boxes, proposals))
    assert torch.equal(match_boxes(proposals, boxes, *thresholds), expected)

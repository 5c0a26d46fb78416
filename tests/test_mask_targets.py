"""Targets cut from label maps equal torchvision's, which need N full-size masks."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from napari_cellseg.model.network import mask_targets as module
from napari_cellseg.model.network.mask_targets import mask_targets

HEIGHT, WIDTH = 210, 150


def make_case(count: int = 120):
    rng = torch.Generator().manual_seed(1)
    blocks = torch.randint(0, 5, (2, HEIGHT // 10, WIDTH // 10), generator=rng)
    maps = blocks.repeat_interleave(10, 1).repeat_interleave(10, 2).int()
    maps[0] = torch.randint(0, 4, (HEIGHT, WIDTH), generator=rng)  # noise: the hardest image to sample
    which = torch.randint(0, 2, (count,), generator=rng)
    values = torch.randint(1, 4, (count,), generator=rng)
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([WIDTH - 8.0, HEIGHT - 8.0])
    extent = 0.4 + 190 * torch.rand(count, 2, generator=rng) ** 3  # from under a pixel to the whole image
    limit = torch.tensor([float(WIDTH), HEIGHT])
    return maps, which, values, torch.cat([corner, torch.minimum(corner + extent, limit)], 1)


@pytest.mark.parametrize("size", [14, 28])
def test_equal_to_project_masks_on_boxes(size):
    maps, which, values, boxes = make_case()
    masks = (maps[which] == values[:, None, None]).float()
    expected = project_masks_on_boxes(masks, boxes, torch.arange(len(boxes)), size)
    assert (mask_targets(maps, which, values, boxes, size) - expected).abs().max() < 8e-5


def test_boxes_on_the_very_border():
    maps = torch.ones(1, 40, 40, dtype=torch.int32)
    boxes = torch.tensor([[0.0, 0, 40, 40], [35.5, 35.5, 40, 40], [0, 0, 0.2, 0.2], [39.9, 0, 40, 40]])
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    masks = torch.ones(4, 40, 40)
    expected = project_masks_on_boxes(masks, boxes, torch.arange(4), 28)
    assert (mask_targets(maps, zeros, ones, boxes, 28) - expected).abs().max() < 8e-5


def test_cells_of_two_classes_may_overlap():
    maps = torch.zeros(2, 32, 32, dtype=torch.int32)
    maps[0, 4:20, 4:20] = 7
    maps[1, 10:28, 10:28] = 7
    boxes = torch.tensor([[4.0, 4, 20, 20], [10, 10, 28, 28]])
    targets = mask_targets(maps, torch.tensor([0, 1]), torch.tensor([7, 7]), boxes, 14)
    assert (targets[:, :13, :13] == 1).all()


def test_small_blocks_change_nothing(monkeypatch):
    case = make_case(40)
    whole = mask_targets(*case, 28)
    monkeypatch.setattr(module, "_ELEMENTS", 1)
    assert torch.allclose(mask_targets(*case, 28), whole, atol=1e-6)


def test_no_proposals():
    maps, *_ = make_case(1)
    empty = torch.zeros(0, dtype=torch.int64)
    assert mask_targets(maps, empty, empty, torch.zeros(0, 4), 28).shape == (0, 28, 28)

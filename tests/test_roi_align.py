from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from napari_cellseg.model.network.roi_align import PyramidRoIAlign

STRIDES = (4, 8, 16)
SIDE = 192


def _features(channels: int = 5, images: int = 2, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        str(i): torch.randn(images, channels, SIDE // stride, SIDE // stride, generator=generator)
        .to(dtype)
        .contiguous(memory_format=torch.channels_last)
        for i, stride in enumerate(STRIDES)
    }


def _boxes(count: int, seed: int) -> torch.Tensor:
    """Return boxes of all sizes, some beyond the image, under a pixel, or empty."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * (SIDE + 20) - 10
    size = torch.exp(torch.rand(count, 2, generator=generator) * 6 - 1)
    size[:2] = 0
    return torch.cat([corner, corner + size], 1)


def _both(size: int, ratio: int) -> tuple[PyramidRoIAlign, MultiScaleRoIAlign]:
    ours = PyramidRoIAlign(STRIDES, size, sampling_ratio=ratio, canonical_scale=56)
    theirs = MultiScaleRoIAlign(["0", "1", "2"], size, sampling_ratio=ratio, canonical_scale=56)
    return ours, theirs


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, 14])
def test_pooling_equals_torchvision(size, ratio):
    ours, theirs = _both(size, ratio)
    boxes, shapes = [_boxes(60, 1), _boxes(40, 2)], [(SIDE, SIDE)] * 2
    features = _features()
    expected = theirs(features, boxes, shapes)
    assert expected.abs().max() > 1
    torch.testing.assert_close(ours(features, boxes, shapes), expected, atol=2e-5, rtol=1e-4)


def test_gradients_equal_torchvision():
    grads = []
    for pool in _both(7, 2):
        features = {name: level.clone().requires_grad_() for name, level in _features().items()}
        pool(features, [_boxes(60, 1), _boxes(40, 2)], [(SIDE, SIDE)] * 2).square().sum().backward()
        grads.append([level.grad for level in features.values()])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_many_boxes_are_pooled_in_parts(monkeypatch):
    ours, _ = _both(7, 1)
    boxes, shapes, features = [_boxes(100, 3)], [(SIDE, SIDE)], _features(images=1)
    whole = ours(features, boxes, shapes)
    monkeypatch.setattr("napari_cellseg.model.network.roi_align._BINS_AT_ONCE", 7 * 49)
    assert torch.equal(ours(features, boxes, shapes), whole)


def test_half_precision_features_are_pooled_in_half_precision():
    ours, theirs = _both(7, 1)
    boxes, shapes = [_boxes(50, 4)], [(SIDE, SIDE)]
    pooled = ours(_features(images=1, dtype=torch.bfloat16), boxes, shapes)
    assert pooled.dtype is torch.bfloat16
    torch.testing.assert_close(pooled.float(), theirs(_features(images=1), boxes, shapes), atol=0.05, rtol=0.05)


def test_no_boxes_give_an_empty_result():
    ours, _ = _both(7, 2)
    assert ours(_features(), [torch.zeros(0, 4)] * 2, [(SIDE, SIDE)] * 2).shape == (0, 5, 7, 7)

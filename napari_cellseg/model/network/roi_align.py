"""RoIAlign over the levels of a feature pyramid; on a CPU one weighted lookup, many times faster than torchvision.

torchvision reads planes of (B, C, H, W), one channel at a time. With channels last, each sample is a row of a table,
and a bin is a weighted sum of rows, which `torch.nn.functional.embedding_bag` computes without storing the samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import MultiScaleRoIAlign

__all__ = ["PyramidRoIAlign"]

_BINS_AT_ONCE = 65536
"""Bins of one lookup; limits the memory of its indices and weights to about 8 MiB."""


class PyramidRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no type hints
    """Pool each box to a grid of ``size`` x ``size``, at the level that suits it (Lin et al., CVPR 2017).

    Computes what torchvision's `MultiScaleRoIAlign` computes (He et al., Mask R-CNN, ICCV 2017) up to rounding; devices
    other than a CPU use torchvision's kernels.

    Parameters
    ----------
    strides : sequence of int
        Of the levels "0", "1", ..., network px.
    size : int
        Side of the grid.
    sampling_ratio : int
        Samples per bin and axis, 1 or more.
    canonical_scale : int
        Side of a box, network px, that is pooled at stride 16.
    """

    def __init__(self, strides: Sequence[int], size: int, *, sampling_ratio: int, canonical_scale: int) -> None:
        names = [str(i) for i in range(len(strides))]
        super().__init__(names, size, sampling_ratio=sampling_ratio, canonical_scale=canonical_scale)
        self.strides = tuple(strides)
        self.size = size

    def forward(self, x: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Return (P, C, size, size) for all boxes of all images, in their order."""
        if x["0"].device.type != "cpu":
            pooled: Tensor = super().forward(x, boxes, image_shapes)
            return pooled
        flat = torch.cat(boxes).float()
        image = torch.cat([torch.full((len(of_image),), i) for i, of_image in enumerate(boxes)])
        level = self._levels(flat)
        result = x["0"].new_empty((len(flat), self.size, self.size, x["0"].shape[1]))
        for i, stride in enumerate(self.strides):
            rows = torch.nonzero(level == i)[:, 0]
            if len(rows):
                result[rows] = self._pool(x[str(i)], flat[rows] / stride, image[rows])
        return result.permute(0, 3, 1, 2)

    def _levels(self, boxes: Tensor) -> Tensor:
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        wanted = torch.floor(self.canonical_level + torch.log2(area.sqrt() / self.canonical_scale) + 1e-6)
        first = round(math.log2(self.strides[0]))
        return (wanted - first).clamp(0, len(self.strides) - 1).long()

    def _pool(self, feature: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
        """Pool boxes (P, 4), px of one level, of the images (P,): (P, size, size, C)."""
        count, channels, height, width = feature.shape
        table = feature.permute(0, 2, 3, 1).reshape(count * height * width, channels)
        y, y_weights = self._samples(boxes[:, 1], boxes[:, 3], height)
        x, x_weights = self._samples(boxes[:, 0], boxes[:, 2], width)
        y = (y + (image * height)[:, None, None]) * width
        # The corners of all samples of a bin: (P, size, size, (2 * ratio)^2).
        step = max(1, _BINS_AT_ONCE // self.size**2)
        parts = []
        for start in range(0, len(boxes), step):
            part = slice(start, start + step)
            index = y[part, :, None, :, None] + x[part, None, :, None, :]
            weight = y_weights[part, :, None, :, None] * x_weights[part, None, :, None, :]
            corners = index.shape[-1] * index.shape[-2]
            parts.append(
                functional.embedding_bag(
                    index.reshape(-1, corners),
                    table,
                    per_sample_weights=weight.reshape(-1, corners).to(table.dtype),
                    mode="sum",
                )
            )
        return torch.cat(parts).reshape(-1, self.size, self.size, channels)

    def _samples(self, low: Tensor, high: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Return positions and weights, (P, size, 2 * ratio) each, around the samples of each bin."""
        ratio = self.sampling_ratio
        places = (torch.arange(self.size * ratio, dtype=torch.float32) + 0.5) / ratio
        at = low[:, None] + places * ((high - low).clamp(min=1) / self.size)[:, None]
        inside = (at >= -1) & (at <= side)
        at = at.clamp(0, side - 1)
        below = at.floor().long()
        above = (below + 1).clamp(max=side - 1)
        part = at - below
        index = torch.stack([below, above], -1)
        weight = torch.stack([1 - part, part], -1) * inside[..., None] / ratio
        return index.reshape(-1, self.size, 2 * ratio), weight.reshape(-1, self.size, 2 * ratio)

"""Mask targets cut from label maps: the targets that torchvision computes from N full-size masks, without the masks.

torchvision's ``project_masks_on_boxes`` runs RoIAlign over an (N, 1, H, W) float stack: 2.4 GiB for 1,000 cells at
800 px. Bilinear sampling followed by averaging is separable, so here each target is ``A_y @ crop @ A_x^T`` with a crop
that is just the proposal's box.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mask_targets"]

_ELEMENTS = 1 << 22  # crop pixels per step: limits the memory to about 50 MiB for any number of cells


def mask_targets(class_maps: Tensor, map_index: Tensor, values: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Sample each proposal's cell on a size x size grid.

    Equal to ``roi_align(masks[:, None], rois, (size, size), spatial_scale=1, sampling_ratio=-1, aligned=False)`` with
    ``masks[i] = class_maps[map_index[i]] == values[i]`` (He et al., Mask R-CNN, ICCV 2017) up to rounding.

    Parameters
    ----------
    class_maps : (K, H, W) int
        One label map per class; 0 is background.
    map_index : (M,) int64
        Which map holds the proposal's cell.
    values : (M,) int64
        The cell's value in it.
    boxes : (M, 4) float
        Proposals: x0, y0, x1, y1 px, inside the image.
    size : int
        Side of the target.

    Returns
    -------
    (M, size, size) float32, 0..1
    """
    targets = boxes.new_zeros((len(boxes), size, size), dtype=torch.float32)
    # Boxes of similar size go together, so that padding to the largest of them costs little.
    extent = torch.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]).clamp(min=1)
    buckets = extent.log2().ceil().long()
    for bucket in sorted(set(buckets.tolist())):
        members = torch.nonzero(buckets == bucket)[:, 0]
        side = 2**bucket + 2  # a margin, for the neighbour right of and below the last sample
        for part in torch.split(members, max(1, _ELEMENTS // side**2)):
            targets[part] = _sample(class_maps, map_index[part], values[part], boxes[part].float(), size, side)
    return targets


def _sample(class_maps: Tensor, map_index: Tensor, values: Tensor, boxes: Tensor, size: int, side: int) -> Tensor:
    height, width = class_maps.shape[-2:]
    top, left = boxes[:, 1].floor().long(), boxes[:, 0].floor().long()
    steps = torch.arange(side, device=boxes.device)
    rows = (top[:, None] + steps).clamp(0, height - 1)
    columns = (left[:, None] + steps).clamp(0, width - 1)
    labels = class_maps[map_index[:, None, None], rows[:, :, None], columns[:, None, :]]
    crop = (labels == values[:, None, None]).float()
    along_y = _weights(boxes[:, 1], boxes[:, 3], top, height, size, side)
    along_x = _weights(boxes[:, 0], boxes[:, 2], left, width, size, side)
    with torch.autocast(boxes.device.type, enabled=False):  # targets are not rounded
        return along_y @ crop @ along_x.transpose(1, 2)


def _weights(low: Tensor, high: Tensor, first: Tensor, limit: int, size: int, side: int) -> Tensor:
    """Return the (M, size, side) matrices that average RoIAlign's bilinear samples along one axis."""
    extent = (high - low).clamp(min=1)
    step = extent / size
    samples = step.ceil()  # a bin, as RoIAlign has it with sampling_ratio=-1
    most = int(samples.max().item())
    sample = torch.arange(most, device=low.device)
    bins = torch.arange(size, device=low.device)[:, None]
    position = low[:, None, None] + bins * step[:, None, None] + (sample + 0.5) * (step / samples)[:, None, None]
    # RoIAlign widens boxes under a pixel to one; a sample beyond the image then counts as background.
    share = ((sample < samples[:, None])[:, None] & (position <= limit)).float() / samples[:, None, None]
    position = position.clamp(0, limit - 1)
    lower = position.floor()
    fraction = position - lower
    lower_index = (lower.long() - first[:, None, None]).clamp(0, side - 1)
    upper_index = (lower_index + 1).clamp(max=side - 1)
    weights = low.new_zeros((len(low), size, side))
    weights.scatter_add_(2, lower_index, (1 - fraction) * share)
    return weights.scatter_add_(2, upper_index, fraction * share)

"""Test-time augmentation: predicts flipped and rotated views of an image and averages the detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_cellseg.model.network.mask_rcnn import Detections

__all__ = ["VIEWS", "View", "fuse"]


@dataclass(frozen=True)
class View:
    """A view of an image: rotated counter-clockwise by quarter turns, then optionally flipped left to right."""

    quarter_turns: int
    mirrored: bool

    def of(self, image: Tensor) -> Tensor:
        """Return the view of an image (C, H, W)."""
        turned = torch.rot90(image, self.quarter_turns, (-2, -1))
        return turned.flip(-1) if self.mirrored else turned

    def undo(self, found: Detections, size: tuple[int, int]) -> Detections:
        """Map the detections of the view back to the image of (height, width) ``size``."""
        boxes, masks = found.boxes, found.mask_probs
        height, width = size if self.quarter_turns % 2 == 0 else size[::-1]  # of the view
        if self.mirrored:
            x0, y0, x1, y1 = boxes.unbind(1)
            boxes = torch.stack([width - x1, y0, width - x0, y1], 1)
            masks = masks.flip(-1)
        for _ in range(self.quarter_turns % 4):  # clockwise
            x0, y0, x1, y1 = boxes.unbind(1)
            boxes = torch.stack([height - y1, x0, height - y0, x1], 1)
            height, width = width, height
        return Detections(boxes, found.scores, found.class_ids, torch.rot90(masks, -self.quarter_turns, (-2, -1)))


VIEWS = (View(0, False), View(0, True), View(2, False), View(2, True))
"""The original, and flipped on either or both axes."""


def fuse(found: Sequence[Detections], iou: float) -> Detections:
    """Average the detections of several views of one image by weighted boxes fusion (Solovyev et al., 2021).

    Detections of different views whose boxes overlap by more than ``iou`` are one cell: its box and mask are the means
    weighted by score, its class has the largest sum of scores, and its score is their sum over the number of *views*,
    so that a cell seen once in four views counts a quarter.

    Parameters
    ----------
    found : sequence of Detections
        Detections of each view, mapped back by `View.undo`.
    iou : float
        Box IoU, 0..1.
    """
    boxes, scores = torch.cat([f.boxes for f in found]), torch.cat([f.scores for f in found])
    classes, masks = torch.cat([f.class_ids for f in found]), torch.cat([f.mask_probs for f in found])
    views = np.repeat(np.arange(len(found)), [len(f) for f in found])
    from torchvision.ops import box_iou  # late: model.network explains why a torchvision does not load

    overlaps = box_iou(boxes, boxes).cpu().numpy()
    groups = _groups(overlaps, scores.cpu().numpy(), views, iou)
    if not groups:
        return found[0]
    owner = np.empty(len(views), np.int64)
    for number, group in enumerate(groups):
        owner[group] = number
    index = torch.from_numpy(owner).to(scores.device)
    total = scores.new_zeros(len(groups)).index_add_(0, index, scores)
    weight = scores / total[index]
    votes = scores.new_zeros((len(groups), int(classes.max()) + 1)).index_put_(
        (index, classes), scores, accumulate=True
    )
    mean_boxes = boxes.new_zeros((len(groups), 4)).index_add_(0, index, boxes * weight[:, None])
    mean_masks = masks.new_zeros((len(groups), *masks.shape[1:])).index_add_(0, index, masks * weight[:, None, None])
    order = (total / len(found)).argsort(descending=True, stable=True)
    return Detections(
        mean_boxes[order], (total / len(found))[order], votes.argmax(1)[order], mean_masks[order].clamp(0, 1)
    )


def _groups(overlaps: np.ndarray, scores: np.ndarray, views: np.ndarray, iou: float) -> list[list[int]]:
    """Group each detection, best first, with the best overlapping detection of each other view."""
    free = np.ones(len(scores), bool)
    groups = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if not free[i]:
            continue
        group, seen = [i], {int(views[i])}
        near = np.flatnonzero(free & (overlaps[i] > iou))
        for j in near[np.argsort(-overlaps[i, near], kind="stable")].tolist():
            if int(views[j]) not in seen:
                seen.add(int(views[j]))
                group.append(j)
        free[group] = False
        groups.append(group)
    return groups

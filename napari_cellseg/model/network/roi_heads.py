"""Class, box and mask of each proposal: torchvision's RoI heads, for images with very many small cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import boxes as box_ops

from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.mask_targets import mask_targets
from napari_cellseg.model.network.matching import BELOW, BETWEEN, match_boxes, pair_iou

__all__ = ["CellRoIHeads"]

_MASKS_AT_ONCE = 256
_CELLS_AREA = 768**2
"""Area of a tile, px, above which it may have more cells than ``detection.per_image``."""


class CellRoIHeads(RoIHeads):  # type: ignore[misc]  # torchvision has no type hints
    """torchvision's `RoIHeads` with bounded memory.

    Mask targets are cut from label maps (`mask_targets`), proposals are matched block by block (`match_boxes`), and the
    mask head gets only boxes that passed the score threshold and non-maximum suppression. The settings choose the
    losses.
    """

    def __init__(self, config: ModelConfig, parts: Mapping[str, nn.Module]) -> None:
        box, found = config.box_head, config.detection
        super().__init__(
            parts["box_roi_pool"],
            parts["box_head"],
            parts["box_predictor"],
            fg_iou_thresh=box.positive_iou,
            bg_iou_thresh=box.negative_iou,
            batch_size_per_image=box.samples,
            positive_fraction=box.positive_fraction,
            bbox_reg_weights=None,
            score_thresh=found.min_score,
            nms_thresh=found.nms,
            detections_per_img=found.per_image,
            mask_roi_pool=parts["mask_roi_pool"],
            mask_head=parts["mask_head"],
            mask_predictor=parts["mask_predictor"],
        )
        self.config = config
        self.iou_predictor = nn.Linear(box.hidden, 1) if box.iou_score else None
        weights = torch.tensor([1.0, *(box.class_weights or [1.0] * config.num_classes)])
        self.register_buffer("class_weights", weights, persistent=False)

    def check_targets(self, targets: object) -> None:
        """Do nothing: targets are checked before training (`training.dataset.validate_target`)."""

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return for each image the cell (clamped to 0) and the class of each proposal (0 background, -1 ignored)."""
        matched, labels = [], []
        high, low = self.proposal_matcher.high_threshold, self.proposal_matcher.low_threshold
        for boxes, cells, classes in zip(proposals, gt_boxes, gt_labels, strict=True):
            match = match_boxes(boxes, cells.reshape(-1, 4), high, low)
            index = match.clamp(min=0)
            label = classes[index] if len(classes) else torch.zeros_like(index)
            label = torch.where(match == BELOW, 0, torch.where(match == BETWEEN, -1, label))
            matched.append(index)
            labels.append(label)
        return matched, labels

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return ([], losses) with targets and (detections, {}) without.

        A detection has ``boxes`` (N, 4) px, ``scores`` (N,), ``labels`` (N,) 1..K and ``masks`` (N, M, M) 0..1.
        """
        if targets is not None:
            return [], self._losses(features, proposals, targets)
        scores, deltas = self._scored(features, proposals)
        counts = [len(boxes) for boxes in proposals]
        results = []
        for part_scores, part_deltas, boxes, shape in zip(
            torch.split(scores, counts), torch.split(deltas, counts), proposals, image_shapes, strict=True
        ):
            results.append(self._select(part_scores, part_deltas, boxes, shape))
        self._draw_masks(features, results)
        return results, {}

    def assess(self, features: Mapping[str, Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class scores (B, K), 0..1, of boxes (B, 4) of one image, and the boxes that the head corrects."""
        scores, deltas = self._scored(features, [boxes])
        own = deltas[:, 0] if deltas.shape[1] == 1 else deltas[torch.arange(len(boxes)), scores.argmax(1) + 1]
        return scores, self.box_coder.decode_single(own, boxes)

    def masks_of(self, features: Mapping[str, Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the soft masks (B, M, M), 0..1, in boxes (B, 4) of one image, for labels (B,) 1..K."""
        result = {"boxes": boxes, "labels": labels}
        self._draw_masks(features, [result])
        return result["masks"]

    def _scored(self, features: Mapping[str, Tensor], proposals: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return class scores (P, K), 0..1, and box deltas (P, K+1 or 1, 4)."""
        logits, deltas, overlap = self._box_outputs(features, proposals)
        scores = logits.softmax(1)[:, 1:]
        return scores if overlap is None else (scores * overlap.sigmoid()[:, None]).sqrt(), deltas

    def _box_outputs(
        self, features: Mapping[str, Tensor], proposals: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return class logits (P, K+1), box deltas (P, K+1 or 1, 4), and IoU logits (P,) or None."""
        seen = self.box_head(self.box_roi_pool(features, proposals, self._padded(features, len(proposals))))
        logits, deltas = self.box_predictor(seen)
        overlap = None if self.iou_predictor is None else self.iou_predictor(seen)[:, 0].float()
        return logits.float(), deltas.float().unflatten(1, (-1, 4)), overlap

    def _padded(self, features: Mapping[str, Tensor], images: int) -> list[tuple[int, int]]:
        """Return the padded size of each image: pooling infers the strides from it, exactly only from this one."""
        stride, (height, width) = self.config.fpn.strides[0], features["0"].shape[-2:]
        return [(int(height) * stride, int(width) * stride)] * images

    # ---- detection ----

    def _select(self, scores: Tensor, deltas: Tensor, proposals: Tensor, shape: tuple[int, int]) -> dict[str, Tensor]:
        if self.config.detection.class_agnostic_nms:  # each proposal counts only for its most probable class
            best, labels = scores.max(1)
            row = torch.nonzero(best > self.score_thresh)[:, 0]
            scores, labels = best[row], labels[row] + 1
        else:
            row, column = torch.nonzero(scores > self.score_thresh, as_tuple=True)
            scores, labels = scores[row, column], column + 1
        chosen = deltas[row, 0] if deltas.shape[1] == 1 else deltas[row, labels]
        boxes = self.box_coder.decode_single(chosen, proposals[row])
        boxes = box_ops.clip_boxes_to_image(boxes, shape)
        keep = box_ops.remove_small_boxes(boxes, 1e-2)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        groups = torch.zeros_like(labels) if self.config.detection.class_agnostic_nms else labels
        keep = box_ops.batched_nms(boxes, scores, groups, self.nms_thresh)[: self._most_cells(shape)]
        return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}

    def _most_cells(self, shape: tuple[int, int]) -> int:
        if self.config.rpn.cap_side is None:
            return int(self.detections_per_img)
        return round(int(self.detections_per_img) * max(1.0, shape[0] * shape[1] / _CELLS_AREA))

    def _draw_masks(self, features: Mapping[str, Tensor], results: list[dict[str, Tensor]]) -> None:
        for i, result in enumerate(results):
            size = self.config.mask_head.size
            masks = result["boxes"].new_zeros((len(result["boxes"]), size, size))
            own = {name: feature[i : i + 1] for name, feature in features.items()}
            for start in range(0, len(masks), _MASKS_AT_ONCE):
                part = slice(start, start + _MASKS_AT_ONCE)
                pooled = self.mask_roi_pool(own, [result["boxes"][part]], self._padded(own, 1))
                logits = self.mask_predictor(self.mask_head(pooled)).float()
                masks[part] = self._of_class(logits, result["labels"][part]).sigmoid()
            result["masks"] = masks

    def _of_class(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config.mask_head.class_agnostic:
            return logits[:, 0]
        return logits[torch.arange(len(labels), device=labels.device), labels]

    # ---- training ----

    def _losses(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            proposals, matched, labels, regression = self.select_training_samples(proposals, list(targets))
        logits, deltas, overlap = self._box_outputs(features, proposals)
        classes = torch.cat(labels)
        positive = torch.nonzero(classes > 0)[:, 0]
        own = deltas[positive, 0] if deltas.shape[1] == 1 else deltas[positive, classes[positive]]
        wanted = torch.cat(regression)[positive]
        box_loss = functional.smooth_l1_loss(own, wanted, beta=1 / 9, reduction="sum")
        losses = {
            "loss_classifier": self._score_loss(logits, classes),
            "loss_box_reg": box_loss / max(1, len(classes)),
            "loss_mask": self._mask_loss(features, proposals, matched, labels, targets),
        }
        if overlap is not None:
            losses["loss_iou"] = self._iou_loss(overlap[positive], own, wanted, torch.cat(proposals)[positive])
        return losses

    def _iou_loss(self, overlap: Tensor, deltas: Tensor, wanted: Tensor, proposals: Tensor) -> Tensor:
        """Return the loss of the predicted IoU of each refined box with its cell (Jiang et al., IoU-Net, ECCV 2018)."""
        with torch.no_grad():
            boxes, cells = (self.box_coder.decode_single(d, proposals) for d in (deltas, wanted))
            truth = pair_iou(boxes, cells).clamp(0, 1)
        each = functional.binary_cross_entropy_with_logits(overlap, truth, reduction="sum")
        return each / max(1, len(truth))

    def _score_loss(self, logits: Tensor, classes: Tensor) -> Tensor:
        box = self.config.box_head
        weights: Any = self.class_weights if box.class_weights else None
        if box.loss == "cross_entropy":
            return functional.cross_entropy(logits, classes, weights, label_smoothing=box.label_smoothing)
        each = functional.cross_entropy(logits, classes, reduction="none", label_smoothing=box.label_smoothing)
        of_truth = logits.softmax(1).gather(1, classes[:, None])[:, 0]
        importance = (1 - of_truth) ** box.focal_gamma
        if weights is not None:
            importance = importance * weights[classes]
        # Divided by the cells, not by all proposals: most of those are easy and add nothing (Lin et al., 2017).
        return (importance * each).sum() / (classes > 0).sum().clamp(min=1)

    def _mask_loss(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
    ) -> Tensor:
        head = self.config.mask_head
        boxes, classes, wanted = [], [], []
        for proposal, cell, label, target in zip(proposals, matched, labels, targets, strict=True):
            chosen = torch.nonzero(label > 0)[:, 0]
            if head.samples is not None and len(chosen) > head.samples:
                chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[: head.samples]]
            boxes.append(proposal[chosen])
            classes.append(label[chosen])
            values = target["values"][cell[chosen]] if len(chosen) else cell[chosen]
            # Overlapping cells of a class lie in further maps.
            several = "map_index" in target and len(chosen)
            index = target["map_index"][cell[chosen]] if several else label[chosen] - 1
            wanted.append(mask_targets(target["class_maps"], index, values, proposal[chosen], head.size))
        pooled = self.mask_roi_pool(features, boxes, self._padded(features, len(boxes)))
        logits = self.mask_predictor(self.mask_head(pooled)).float()
        drawn, truth = self._of_class(logits, torch.cat(classes)), torch.cat(wanted)
        if not len(truth):
            nothing: Tensor = logits.sum() * 0  # keeps the graph connected if an image has no cell
            return nothing
        weights = 1 + head.boundary_weight * _outline(truth) if head.boundary_weight else None
        loss = functional.binary_cross_entropy_with_logits(drawn, truth, weights)
        return loss + head.dice_weight * _dice_loss(drawn.sigmoid(), truth) if head.dice_weight else loss


def _outline(masks: Tensor) -> Tensor:
    """Return 1 within a pixel of the outline of soft masks (N, M, M), else 0."""
    padded = functional.pad((masks > 0.5).float()[:, None], (1, 1, 1, 1), mode="replicate")
    return (functional.max_pool2d(padded, 3, 1) + functional.max_pool2d(-padded, 3, 1))[:, 0]


def _dice_loss(drawn: Tensor, truth: Tensor) -> Tensor:
    """1 - soft Dice, mean over masks (Milletari et al., V-Net, 3DV 2016)."""
    shared = (drawn * truth).sum((1, 2))
    return (1 - (2 * shared + 1) / (drawn.sum((1, 2)) + truth.sum((1, 2)) + 1)).mean()

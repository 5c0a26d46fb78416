"""The region proposal network: torchvision's, with sparse anchor matching and decoding of the best anchors only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import boxes as box_ops

from napari_cellseg.model.config import RpnConfig
from napari_cellseg.model.network.backbone import separable_conv
from napari_cellseg.model.network.matching import BELOW, BETWEEN, AnchorGrid, match_anchors

__all__ = ["ProposalNetwork"]


class ProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no type hints
    """Proposes boxes that may hold a cell (Ren et al., Faster R-CNN, NeurIPS 2015).

    Equal to torchvision's `RegionProposalNetwork`, with less memory and time: anchors are matched sparsely
    (`match_anchors`), regression targets are made for the sampled anchors only, and only the anchors that pass the
    per-level cut are decoded.
    """

    def __init__(self, config: RpnConfig, channels: int) -> None:
        sizes = tuple(sizes for sizes in config.anchor_sizes if sizes)
        anchors = AnchorGenerator(sizes, (config.aspect_ratios,) * len(sizes))
        super().__init__(
            anchors,
            _head(config, channels, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=config.positive_iou,
            bg_iou_thresh=config.negative_iou,
            batch_size_per_image=config.samples,
            positive_fraction=config.positive_fraction,
            pre_nms_top_n={"training": config.pre_nms_train, "testing": config.pre_nms_test},
            post_nms_top_n={"training": config.post_nms_train, "testing": config.post_nms_test},
            nms_thresh=config.nms,
            score_thresh=config.min_score,
        )
        self.cap_side = config.cap_side
        self.levels = [i for i, level in enumerate(config.anchor_sizes) if level]

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the proposals (P_i, 4) px of each image and, with targets, the two losses."""
        levels = list(features.values())
        maps = [levels[i] for i in self.levels]
        scores, deltas = self.head(maps)
        # Anchors would get the type of their feature maps, and in half precision they would be px off.
        # All images of a batch are padded to one size, so those of the first are those of all.
        anchors = self.anchor_generator(images, [feature[:, :1].float() for feature in maps])[0]
        sizes = [(int(s.shape[-2]), int(s.shape[-1])) for s in scores]
        flat_scores = [s.permute(0, 2, 3, 1).flatten(1).float() for s in scores]
        flat_deltas = [d.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).reshape(len(d), -1, 4).float() for d in deltas]
        floor = self.score_thresh if targets is None else 0.0
        proposals = self._propose(flat_scores, flat_deltas, anchors, images.image_sizes, floor)
        if targets is None:
            return proposals, {}
        grids = self._grids(images.tensors, sizes)
        return proposals, self._losses(torch.cat(flat_scores, 1), torch.cat(flat_deltas, 1), anchors, grids, targets)

    def _grids(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[AnchorGrid]:
        height, width = images.shape[-2:]
        return [
            AnchorGrid(base, size, (height // size[0], width // size[1]))
            for base, size in zip(self.anchor_generator.cell_anchors, sizes, strict=True)
        ]

    @torch.no_grad()
    def _propose(
        self,
        scores: list[Tensor],
        deltas: list[Tensor],
        anchors: Tensor,
        image_sizes: list[tuple[int, int]],
        floor: float,
    ) -> list[Tensor]:
        counts = [s.shape[1] for s in scores]
        anchors_of_level = torch.split(anchors, counts)
        found = []
        for i, size in enumerate(image_sizes):
            boxes, best, level_of = [], [], []
            for level, (s, d, a) in enumerate(zip(scores, deltas, anchors_of_level, strict=True)):
                index = self._best(s[i], a, floor, size)
                boxes.append(self.box_coder.decode_single(d[i, index], a[index]))
                best.append(s[i, index].sigmoid())
                level_of.append(torch.full_like(index, level))
            kept = self._suppress(torch.cat(boxes), torch.cat(best), torch.cat(level_of), size)
            found.append(kept[: self._most(self.post_nms_top_n(), *size)])
        return found

    def _best(self, scores: Tensor, anchors: Tensor, floor: float, size: tuple[int, int]) -> Tensor:
        """Return the indices of the anchors of a level that become proposals, best score first."""
        most, side = self.pre_nms_top_n(), self.cap_side
        if self.training or side is None:
            value, index = scores.topk(min(most, len(scores)))
            return index[value.sigmoid() >= floor]
        index = torch.nonzero(scores.sigmoid() >= floor)[:, 0]
        index = index[scores[index].argsort(descending=True, stable=True)]
        rows, columns = -(-size[0] // side), -(-size[1] // side)
        x, y = (((anchors[index, k] + anchors[index, k + 2]) / (2 * side)).long() for k in (0, 1))
        square = y.clamp(max=rows - 1) * columns + x.clamp(max=columns - 1)
        by_square = square.argsort(stable=True)  # and by score within each square
        first = torch.searchsorted(square[by_square], square[by_square])
        rank = torch.empty_like(square)
        rank[by_square] = torch.arange(len(square), device=square.device) - first
        caps = [
            self._most(most, min(side, size[0] - top), min(side, size[1] - left))
            for top in range(0, size[0], side)
            for left in range(0, size[1], side)
        ]
        return index[rank < torch.tensor(caps, device=index.device)[square]]

    def _most(self, cap: int, height: int, width: int) -> int:
        """Return the share of a cap for an area, px."""
        if self.training or self.cap_side is None:
            return cap
        return math.ceil(cap * height * width / self.cap_side**2)

    def _suppress(self, boxes: Tensor, scores: Tensor, levels: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the boxes that suppression leaves, best score first."""
        boxes = box_ops.clip_boxes_to_image(boxes, size)
        keep = box_ops.remove_small_boxes(boxes, self.min_size)
        boxes, scores, levels = boxes[keep], scores[keep], levels[keep]
        kept: Tensor = boxes[box_ops.batched_nms(boxes, scores, levels, self.nms_thresh)]
        return kept

    def _losses(
        self,
        scores: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        grids: list[AnchorGrid],
        targets: Sequence[Mapping[str, Tensor]],
    ) -> dict[str, Tensor]:
        high, low = self.proposal_matcher.high_threshold, self.proposal_matcher.low_threshold
        matches = [match_anchors(anchors, grids, t["boxes"].to(anchors.dtype), high, low) for t in targets]
        positive, negative = self.fg_bg_sampler([_as_labels(m) for m in matches])
        score_parts, label_parts, delta_parts, target_parts = [], [], [], []
        for i, (match, target) in enumerate(zip(matches, targets, strict=True)):
            chosen, others = torch.nonzero(positive[i])[:, 0], torch.nonzero(negative[i])[:, 0]
            score_parts.append(scores[i, torch.cat([chosen, others])])
            label_parts.append(torch.cat([torch.ones_like(chosen), torch.zeros_like(others)]))
            cells = target["boxes"].to(anchors.dtype).reshape(-1, 4)[match[chosen]]
            delta_parts.append(deltas[i, chosen])
            target_parts.append(self.box_coder.encode_single(cells, anchors[chosen]))
        labels = torch.cat(label_parts).to(scores.dtype)
        box_loss = functional.smooth_l1_loss(
            torch.cat(delta_parts), torch.cat(target_parts), beta=1 / 9, reduction="sum"
        )
        return {
            "loss_objectness": functional.binary_cross_entropy_with_logits(torch.cat(score_parts), labels),
            "loss_rpn_box_reg": box_loss / max(1, len(labels)),
        }


def _as_labels(matches: Tensor) -> Tensor:
    """Return the matches for torchvision's sampler: 1 cell, 0 background, -1 ignored."""
    labels = (matches >= 0).float()
    labels[matches == BETWEEN] = -1
    labels[matches == BELOW] = 0
    return labels


def _head(config: RpnConfig, channels: int, anchors: int) -> RPNHead:
    head = RPNHead(channels, anchors)
    if config.separable:
        head.conv = nn.Sequential(separable_conv(channels), nn.ReLU(inplace=True))
    return head

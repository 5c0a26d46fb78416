"""Builds the network of a `ModelConfig`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.backbone import make_backbone
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from napari_cellseg.model.network.roi_align import PyramidRoIAlign
from napari_cellseg.model.network.roi_heads import CellRoIHeads
from napari_cellseg.model.network.rpn import ProposalNetwork

__all__ = ["build_model"]


def build_model(config: ModelConfig, *, pretrained: bool | Path = False) -> CellMaskRCNN:
    """Return the network, in training mode, on the CPU.

    Parameters
    ----------
    config : ModelConfig
        The settings; ``model.config`` is the same with the backbone's input statistics and origin filled in.
    pretrained : bool or Path
        Initial weights of the backbone, see `make_backbone`; False: random.

    Raises
    ------
    ConfigError
        The backbone does not exist, does not match the pyramid, or there are no weights for it here.
    CheckpointError
        The weights cannot be read or are of another model.
    """
    backbone, filled = make_backbone(config.backbone, config.fpn, pretrained)
    config = config.model_copy(update={"backbone": filled})
    rpn = ProposalNetwork(config.rpn, config.fpn.channels)
    model = CellMaskRCNN(config, backbone, rpn, CellRoIHeads(config, _parts(config)))
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    return model


def _parts(config: ModelConfig) -> dict[str, nn.Module]:
    box, mask, channels = config.box_head, config.mask_head, config.fpn.channels
    strides = config.fpn.strides
    mask_classes = 1 if mask.class_agnostic else config.num_classes + 1
    return {
        "box_roi_pool": PyramidRoIAlign(
            strides, box.pool, sampling_ratio=box.sampling_ratio, canonical_scale=box.canonical_scale
        ),
        "box_head": nn.Sequential(TwoMLPHead(channels * box.pool**2, box.hidden), nn.Dropout(box.dropout)),
        "box_predictor": _BoxPredictor(box.hidden, config.num_classes + 1, class_agnostic=box.class_agnostic_boxes),
        "mask_roi_pool": PyramidRoIAlign(
            strides, mask.pool, sampling_ratio=mask.sampling_ratio, canonical_scale=mask.canonical_scale
        ),
        "mask_head": nn.Sequential(
            MaskRCNNHeads(channels, (mask.channels,) * mask.convolutions, 1), nn.Dropout2d(mask.dropout)
        ),
        "mask_predictor": MaskRCNNPredictor(mask.channels, mask.channels, mask_classes),
    }


class _BoxPredictor(FastRCNNPredictor):  # type: ignore[misc]  # torchvision has no type hints
    """torchvision's, optionally with one box for all classes: (P, C) -> (P, K+1) logits, (P, 4 or 4(K+1)) deltas."""

    def __init__(self, in_channels: int, num_classes: int, *, class_agnostic: bool) -> None:
        super().__init__(in_channels, num_classes)
        if class_agnostic:
            self.bbox_pred = nn.Linear(in_channels, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class logits and the box deltas."""
        return self.cls_score(x), self.bbox_pred(x)

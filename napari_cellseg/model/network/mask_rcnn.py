"""Mask R-CNN as one module: tiles in, losses or detections out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList

from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.backbone import PyramidBackbone
from napari_cellseg.model.network.norms import calibrate
from napari_cellseg.model.network.roi_heads import CellRoIHeads
from napari_cellseg.model.network.rpn import ProposalNetwork

__all__ = ["CellMaskRCNN", "Core", "Detections"]

Target = Mapping[str, Tensor]
Core = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detections:
    """The detections of one image, best score first, in px of the given image.

    Parameters
    ----------
    boxes : (N, 4) float32
        x0, y0, x1, y1.
    scores : (N,) float32
        0..1.
    class_ids : (N,) int64
        1..K.
    mask_probs : (N, M, M) float32
        Probability of "cell" on a grid over each box (M is 28 by default).
    """

    boxes: Tensor
    scores: Tensor
    class_ids: Tensor
    mask_probs: Tensor

    def __len__(self) -> int:
        return len(self.scores)


class CellMaskRCNN(nn.Module):
    """Mask R-CNN (He et al., ICCV 2017) from torchvision's parts; make it with `build_model`.

    torchvision's own ``MaskRCNN`` is not used as a whole: it silently accepts misspelt keywords, resizes every image to
    800..1333 px, and pastes each mask into a full-size float image.

    Images are (3, H, W) tensors, uint8 0..255 or float 0..1, already at the working scale. A target is a dict of

    - ``boxes`` (N, 4) float32: x0, y0, x1, y1 px, half-open, tight;
    - ``labels`` (N,) int64: 1..K;
    - ``class_maps`` (K, H, W) int32: one label map per class, 0 is background;
    - ``values`` (N,) int64: cell i is where ``class_maps[labels[i] - 1] == values[i]``;
    - ``map_index`` (N,) int64, only if cells of a class overlap: the index of the map, of then more maps, of each cell.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: ModelConfig, backbone: PyramidBackbone, rpn: ProposalNetwork, roi_heads: CellRoIHeads
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.rpn = rpn
        self.roi_heads = roi_heads
        self.register_buffer("mean", torch.tensor(config.backbone.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.backbone.std).reshape(1, 3, 1, 1), persistent=False)

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        cores: Sequence[Core] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Return the losses if there are targets, else the detections of each image.

        Proposals outside of an image's core (x0, y0, x1, y1 px of the given image) become no detections.

        The losses are ``loss_objectness``, ``loss_rpn_box_reg``, ``loss_classifier``, ``loss_box_reg``, ``loss_mask``
        and, if it is trained, ``loss_iou``. They sample anchors and proposals at random, also in evaluation mode.
        """
        sizes = [self._network_size(image) for image in images]
        batch = self._batch(images, sizes)
        features = self.backbone(batch.tensors)
        if targets is not None:
            scaled = [_scale_target(t, image, size) for t, image, size in zip(targets, images, sizes, strict=True)]
            proposals, losses = self.rpn(batch, features, scaled)
            return {**losses, **self.roi_heads(features, proposals, sizes, scaled)[1]}
        proposals, _ = self.rpn(batch, features)
        if cores is not None:
            ratios = [
                (size[1] / image.shape[-1], size[0] / image.shape[-2])
                for image, size in zip(images, sizes, strict=True)
            ]
            proposals = [_touching(p, core, ratio) for p, core, ratio in zip(proposals, cores, ratios, strict=True)]
        results, _ = self.roi_heads(features, proposals, sizes)
        return [_to_detections(r, image, size) for r, image, size in zip(results, images, sizes, strict=True)]

    @torch.inference_mode()
    def detect(self, images: Sequence[Tensor], cores: Sequence[Core] | None = None) -> list[Detections]:
        """Return the detections of each image; the model must be in evaluation mode."""
        if self.training:
            raise ValueError("call model.eval() first: dropout and proposal counts differ in training")
        found = self.forward(images, cores=cores)
        assert isinstance(found, list)  # without targets it always is
        return found

    @torch.inference_mode()
    def features_of(self, image: Tensor) -> Mapping[str, Tensor]:
        """Return the feature maps of one (3, H, W) image as it is, without the resizing of `min_size`."""
        features: Mapping[str, Tensor] = self.backbone(
            self._batch([image], [(int(image.shape[-2]), int(image.shape[-1]))]).tensors
        )
        return features

    def calibrate(self, images: Sequence[Tensor]) -> None:
        """Set the statistics of the pyramid's norms to those on some (3, H, W) images, see `StoredNorm`."""
        calibrate(self.backbone, self._batch(images, [self._network_size(image) for image in images]).tensors)

    def _network_size(self, image: Tensor) -> tuple[int, int]:
        height, width = int(image.shape[-2]), int(image.shape[-1])
        least, most = self.config.min_size, self.config.max_size
        if least is None or most is None:
            return height, width
        scale = min(least / min(height, width), most / max(height, width))
        return max(1, int(height * scale)), max(1, int(width * scale))

    def _batch(self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> ImageList:
        """Normalise, and pad right and below with the mean colour to a common size that every stride divides."""
        stride = max(32, self.config.fpn.strides[-1])
        height = -(-max(h for h, _ in sizes) // stride) * stride
        width = -(-max(w for _, w in sizes) // stride) * stride
        batch = torch.zeros((len(images), 3, height, width), dtype=torch.float32, device=self.mean.device)
        for row, image, (h, w) in zip(batch, images, sizes, strict=True):
            pixels = image.to(self.mean.device)[None]
            pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
            if (h, w) != tuple(pixels.shape[-2:]):
                pixels = functional.interpolate(pixels, (h, w), mode="bilinear", align_corners=False)
            row[:, :h, :w] = ((pixels - self.mean) / self.std)[0]
        if self.config.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return ImageList(batch, list(sizes))


def _scale_target(target: Target, image: Tensor, size: tuple[int, int]) -> Target:
    old = (int(image.shape[-2]), int(image.shape[-1]))
    if old == size:
        return target
    ratio = target["boxes"].new_tensor([size[1] / old[1], size[0] / old[0]] * 2)
    maps = target["class_maps"]
    rows = (torch.arange(size[0], device=maps.device) * old[0] // size[0])[:, None]
    columns = torch.arange(size[1], device=maps.device) * old[1] // size[1]
    return {**target, "boxes": target["boxes"] * ratio, "class_maps": maps[:, rows, columns]}


def _touching(boxes: Tensor, core: Core, ratio: tuple[float, float]) -> Tensor:
    """Return the boxes (P, 4) that reach into a rectangle, which is scaled by (x, y) first."""
    x0, x1, y0, y1 = core[0] * ratio[0], core[2] * ratio[0], core[1] * ratio[1], core[3] * ratio[1]
    return boxes[(boxes[:, 2] > x0) & (boxes[:, 0] < x1) & (boxes[:, 3] > y0) & (boxes[:, 1] < y1)]


def _to_detections(result: Mapping[str, Tensor], image: Tensor, size: tuple[int, int]) -> Detections:
    ratio = result["boxes"].new_tensor([image.shape[-1] / size[1], image.shape[-2] / size[0]] * 2)
    return Detections(result["boxes"] * ratio, result["scores"], result["labels"], result["masks"])

"""Mask R-CNN as a prompt tool: its box and mask heads on boxes that the user points at, without region proposals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import boxes as box_ops

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, autocast
from napari_cellseg.model.inference.candidates import Candidates, ladder
from napari_cellseg.model.inference.paste import soft_masks
from napari_cellseg.model.inference.pieces import in_one_piece
from napari_cellseg.model.inference.predictor import Predictor, to_network
from napari_cellseg.model.inference.prompts import CellAnswer, CellPrompt, Way
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN

__all__ = ["PromptedModel"]

_SIDES = (0.5, 0.7, 0.92, 1.2, 1.6, 2.1, 2.75)
"""Sides of the square boxes around a click, in sides of a typical cell of the training images."""
_LONG_SIDES = (0.7, 1.03, 1.55)
_LONG = 1.6
"""Ratio of the sides of the long boxes; each stands upright and lies."""
_USUAL_SIDE = 35.0
"""Side of a typical cell, network px, of a model that does not state it."""
_LARGEST_REGION = 1024
"""A larger region is shrunk to this side, network px, so that a click never waits."""


@dataclass(frozen=True)
class _Seen:
    """A region as the network sees it: its feature maps, its size in network px, and that of one px of the image."""

    features: Mapping[str, Tensor]
    size: tuple[int, int]
    scale: npt.NDArray[np.float32]


class PromptedModel:
    """A model that answers prompts; keeps the features of the last region.

    Parameters
    ----------
    model : CellMaskRCNN
        In evaluation mode, on the device.
    header : CheckpointHeader
    device : Device
    options : PredictOptions
        Scale and precision.

    Raises
    ------
    ConfigError
        The device does not support the requested precision.
    """

    def __init__(self, model: CellMaskRCNN, header: CheckpointHeader, device: Device, options: PredictOptions) -> None:
        self._predictor = Predictor(model, header, device, options)
        self._header = header
        self._seen: tuple[object, _Seen] | None = None
        side = None if header.statistics is None else header.statistics.cell_side_px
        self._side = _USUAL_SIDE if side is None else side * header.config.working_scale

    def answer(self, prompt: CellPrompt) -> CellAnswer | None:
        """Return the cell at the point or in the drawn box; None if the heads see no cell there."""
        seen = self._look(prompt)
        if prompt.drawn is not None:
            return self._in_box(seen, prompt)
        return None if prompt.point is None else self._at_point(seen, prompt, prompt.point)

    @torch.inference_mode()
    def masks_in(self, seen: _Seen, boxes: Tensor, passes: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Run the heads on boxes: (boxes, class scores (N, K), soft masks (N, M, M)).

        Parameters
        ----------
        seen : _Seen
        boxes : (B, 4) float32
            network px.
        passes : int
            1 for the boxes as they are; 2 for these and for the boxes that the box head makes of them.
        """
        heads = self._predictor.model.roi_heads
        with autocast(self._predictor.device, self._predictor.precision):
            kept, scores = [], []
            for _ in range(passes):
                of_class, refined = heads.assess(seen.features, boxes)
                kept.append(boxes)
                scores.append(of_class)
                boxes = box_ops.clip_boxes_to_image(refined, seen.size)
            every = torch.cat(kept)
            of_every = torch.cat(scores)
            masks = heads.masks_of(seen.features, every, of_every.argmax(1) + 1)
        return every, of_every, masks

    def _look(self, prompt: CellPrompt) -> _Seen:
        """Compute the features of a region, or return those of the last one."""
        key = (prompt.image_key, prompt.region, prompt.pixel_size_um)
        if self._seen is None or self._seen[0] != key:
            self._seen = None
            height, width = prompt.pixels.shape[:2]
            scale = self._predictor.scale(prompt.pixel_size_um)[0]
            scale *= min(1.0, _LARGEST_REGION / (scale * max(height, width)))
            size = max(1, round(height * scale)), max(1, round(width * scale))
            with autocast(self._predictor.device, self._predictor.precision):
                features = self._predictor.model.features_of(to_network(prompt.pixels, size))
            ratio = np.array([size[1] / width, size[0] / height] * 2, np.float32)
            self._seen = key, _Seen(features, size, ratio)
        return self._seen[1]

    def _at_point(self, seen: _Seen, prompt: CellPrompt, point: tuple[float, float]) -> CellAnswer | None:
        corner = np.array(prompt.region[:2] * 2, np.float32)
        proposed = (np.asarray(prompt.proposals, np.float32).reshape(-1, 4) - corner) * seen.scale
        middle = (np.array([point[1], point[0]] * 2, np.float32) + 0.5 - corner) * seen.scale
        boxes = torch.from_numpy(np.concatenate([proposed, middle + self._boxes()]).astype(np.float32))
        boxes = box_ops.clip_boxes_to_image(boxes.to(self._predictor.model.mean.device), seen.size)
        found, scores, candidates = self._candidates(seen, prompt, boxes, passes=2)
        y, x = (round(point[0]) - prompt.region[1], round(point[1]) - prompt.region[0])
        quality = candidates.quality_at(y, x)
        best = int(np.argmax(quality))
        if quality[best] <= -1:
            return None
        first = candidates.soft[best] > 0.5
        is_proposal = best % (len(found) // 2) < len(proposed)
        return self._answer(
            prompt, candidates, quality, scores, best, first, (y, x), Way.PROPOSAL if is_proposal else Way.HEADS
        )

    def _in_box(self, seen: _Seen, prompt: CellPrompt) -> CellAnswer | None:
        assert prompt.drawn is not None
        corner = np.array(prompt.region[:2] * 2, np.float32)
        inside = np.array(prompt.drawn, np.float32) - corner
        boxes = torch.from_numpy((inside * seen.scale)[None]).to(self._predictor.model.mean.device)
        _, scores, candidates = self._candidates(seen, prompt, boxes, passes=1)
        best, level = candidates.fit_to(inside.tolist())
        first = candidates.soft[best] > level
        if not first.any():
            return None
        rows, columns = np.nonzero(first)
        k = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
        at = int(rows[k]), int(columns[k])
        return self._answer(prompt, candidates, np.ones(1, np.float32), scores, best, first, at, Way.HEADS)

    def _candidates(
        self, seen: _Seen, prompt: CellPrompt, boxes: Tensor, passes: int
    ) -> tuple[Tensor, npt.NDArray[np.float32], Candidates]:
        found, of_class, masks = self.masks_in(seen, boxes, passes)
        scores = of_class.float().cpu().numpy()
        soft = soft_masks(
            masks.float().cpu().numpy(),
            (found.float().cpu().numpy() / seen.scale).astype(np.float32),
            prompt.pixels.shape[:2],
        )
        return found, scores, Candidates(soft, scores.max(1), prompt.pixels, prompt.taken)

    def _answer(
        self,
        prompt: CellPrompt,
        candidates: Candidates,
        quality: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        best: int,
        first: npt.NDArray[np.bool_],
        at: tuple[int, int],
        way: Way,
    ) -> CellAnswer:
        masks, origins, place = ladder(candidates, quality, first, at)
        chosen = [best if origin < 0 else origin for origin in origins]
        cells = InstanceMasks.from_crops(
            prompt.image_size,
            [prompt.region[:2]] * len(masks),
            masks,
            np.full(len(masks), scores[best].argmax() + 1, np.int32),
            np.clip(scores[chosen].max(1), 0, 1),
        )
        return CellAnswer(sizes=in_one_piece(cells), first=place, way=way, classes=self._header.classes)

    def _boxes(self) -> npt.NDArray[np.float32]:
        """Return boxes around (0, 0), network px: squares of several sizes, and long ones."""
        half = [(side / 2, side / 2) for side in _SIDES]
        for side in _LONG_SIDES:
            long, short = side * _LONG**0.5 / 2, side / _LONG**0.5 / 2
            half += [(long, short), (short, long)]
        return np.array([(-x, -y, x, y) for x, y in half], np.float32) * np.float32(self._side)

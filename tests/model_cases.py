"""A small model and targets that several model tests share."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_cellseg.classes import ClassTable
from napari_cellseg.model.config import ModelConfig

TINY = {
    "backbone__name": "test_efficientnet",
    "fpn__channels": 16,
    "box_head__hidden": 16,
    "mask_head__channels": 8,
    "mask_head__convolutions": 1,
    "rpn__cap_side": None,  # images of tests are small
    "rpn__pre_nms_test": 2000,
    "rpn__post_nms_test": 2000,
}


def tiny_config(preset: str = "lite", **changes) -> ModelConfig:
    """Settings of a preset with timm's smallest backbone (80,000 parameters) and narrow heads."""
    return ModelConfig.preset(preset, ClassTable.numbered(3)).with_changes(**{**TINY, **changes})


def draw_target(size: tuple[int, int], count: int, seed: int = 0, classes: int = 3) -> dict[str, Tensor]:
    """Rectangles of 6 to 30 px, those of different classes may overlap."""
    rng = torch.Generator().manual_seed(seed)
    maps = torch.zeros((classes, *size), dtype=torch.int32)
    for value in range(1, count + 1):
        h, w = torch.randint(6, 31, (2,), generator=rng).tolist()
        y = int(torch.randint(0, size[0] - h + 1, (1,), generator=rng))
        x = int(torch.randint(0, size[1] - w + 1, (1,), generator=rng))
        maps[value % classes, y : y + h, x : x + w] = value
    boxes, labels, values = [], [], []
    for k in range(classes):
        for value in [v for v in maps[k].unique().tolist() if v]:
            y, x = torch.nonzero(maps[k] == value, as_tuple=True)
            boxes.append([int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1])
            labels.append(k + 1)
            values.append(value)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "class_maps": maps,
        "values": torch.tensor(values, dtype=torch.int64),
    }


def draw_image(target: dict[str, Tensor], seed: int = 0) -> Tensor:
    """Cells of each class in their own colour on noise, (3, H, W) uint8."""
    size = target["class_maps"].shape[-2:]
    image = 200 + 20 * torch.rand((3, *size), generator=torch.Generator().manual_seed(seed))
    for k, label_map in enumerate(target["class_maps"]):
        image[k % 3, label_map > 0] = 60
    return image.to(torch.uint8)

"""Memory and time of one training step as the cells of an image grow from 50 to 1,000: ours and stock torchvision.

    python benchmarks/training_step.py [--size 800] [--cells 50 500 1000] [--preset lite]

Both sides are the same network with the same weights; stock torchvision gets it through its own ``MaskRCNN``, with one
full-size mask a cell. Each case runs in a fresh process; what is reported is its peak memory (``ru_maxrss``) over what
it held before the target was made, so gradients and the target count. The goal: 1,000 cells at most 1.3 times 50 cells.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import psutil
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from napari_cellseg.classes import ClassTable
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN

CLASSES = 4


def grid_target(size: int, count: int) -> dict[str, Tensor]:
    """Discs on a grid, up to 24 px wide, of the four classes in turn."""
    maps = torch.zeros((CLASSES, size, size), dtype=torch.int32)
    columns = int(count**0.5 + 0.999)
    step = size / columns
    radius = int(max(4, min(12, step // 2)))
    steps = torch.arange(-radius, radius + 1)
    disc = steps[:, None] ** 2 + steps**2 <= radius**2
    boxes, labels = [], []
    for i in range(count):
        y = min(max(int((i // columns + 0.5) * step), radius), size - radius - 1)
        x = min(max(int((i % columns + 0.5) * step), radius), size - radius - 1)
        area = maps[i % CLASSES, y - radius : y + radius + 1, x - radius : x + radius + 1]
        area[disc] = i + 1
        boxes.append([x - radius, y - radius, x + radius + 1, y + radius + 1])
        labels.append(i % CLASSES + 1)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor(labels),
        "class_maps": maps,
        "values": torch.arange(1, count + 1),
    }


def with_full_masks(target: dict[str, Tensor]) -> dict[str, Tensor]:
    maps, labels, values = target["class_maps"], target["labels"], target["values"]
    masks = torch.stack([maps[k - 1] == v for k, v in zip(labels, values, strict=True)]).to(torch.uint8)
    return {"boxes": target["boxes"], "labels": labels, "masks": masks}


def stock(model: CellMaskRCNN, size: int) -> MaskRCNN:
    config, heads = model.config, model.roi_heads
    return MaskRCNN(
        model.backbone,
        min_size=size,
        max_size=size,
        image_mean=config.backbone.mean,
        image_std=config.backbone.std,
        rpn_anchor_generator=model.rpn.anchor_generator,
        rpn_head=model.rpn.head,
        rpn_pre_nms_top_n_train=config.rpn.pre_nms_train,
        rpn_post_nms_top_n_train=config.rpn.post_nms_train,
        rpn_fg_iou_thresh=config.rpn.positive_iou,
        rpn_bg_iou_thresh=config.rpn.negative_iou,
        box_roi_pool=heads.box_roi_pool,
        box_head=heads.box_head,
        box_predictor=heads.box_predictor,
        box_batch_size_per_image=config.box_head.samples,
        box_positive_fraction=config.box_head.positive_fraction,
        mask_roi_pool=heads.mask_roi_pool,
        mask_head=heads.mask_head,
        mask_predictor=heads.mask_predictor,
    )


def network(preset: str) -> CellMaskRCNN:
    config = ModelConfig.preset(preset, ClassTable.numbered(CLASSES))
    # What torchvision's own class has no setting for is alike on both sides: anchors on every level, heads by
    # class, no IoU.
    sizes = tuple(sizes or (8, 12, 18) for sizes in config.rpn.anchor_sizes)
    same = {"box_head__class_agnostic_boxes": False, "mask_head__class_agnostic": False, "box_head__iou_score": False}
    return build_model(config.with_changes(**same, rpn__anchor_sizes=sizes))


def one_case(side: str, preset: str, size: int, count: int) -> dict[str, Any]:
    torch.manual_seed(0)
    ours = network(preset)
    model = ours.train() if side == "ours" else stock(ours, size).train()
    image = torch.rand(3, size, size)
    before = psutil.Process().memory_info().rss
    target = grid_target(size, count)
    if side == "stock":
        target = with_full_masks(target)
    started = time.process_time()
    losses = model([image], [target])
    sum(losses.values()).backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "mib": (peak - before) / 2**20,
        "s": time.process_time() - started,
        "loss": sum(v.item() for v in losses.values()),
    }


def in_fresh_process(side: str, preset: str, size: int, count: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--case", side, "--preset", preset, "--size", str(size), "--cells", str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=800)
    parser.add_argument("--cells", type=int, nargs="+", default=[50, 500, 1000])
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--case", choices=["ours", "stock"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(one_case(arguments.case, arguments.preset, arguments.size, arguments.cells[0])))
        return
    print(f"{arguments.preset}, {arguments.size} x {arguments.size} px, torch {torch.__version__}")
    print(f"{'cells':>6} {'ours MiB':>9} {'stock MiB':>10} {'ratio':>6} {'ours CPU s':>11} {'stock CPU s':>12}")
    first: float | None = None
    for count in arguments.cells:
        ours, theirs = (in_fresh_process(s, arguments.preset, arguments.size, count) for s in ("ours", "stock"))
        first = first or ours["mib"]
        print(
            f"{count:>6} {ours['mib']:>9.0f} {theirs['mib']:>10.0f} {theirs['mib'] / ours['mib']:>6.1f}"
            f" {ours['s']:>11.2f} {theirs['s']:>12.2f}   ours: {ours['mib'] / first:.2f} x the first row"
        )


if __name__ == "__main__":
    main()

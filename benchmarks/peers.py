"""Time and memory of the networks of other tools on the same image: one forward pass, random weights, one CPU.

    python benchmarks/peers.py [--image FILE] [--side 1000] [--threads 2]

Each tool gets the image at the scale and in the tiles that it would choose. Random weights make no difference to the
time of a network, but their cells mean nothing: what follows the network (flows, instances) is left
out of theirs, and is part of the line "with cells" of ours. A tool that is not installed is named and left out. In an
environment on top of this one:

    pip install --no-deps "cellpose<4" instanseg-torch einops fastremap opencv-python-headless

StarDist needs TensorFlow, and Cellpose 4 a network of 1.2 GB; neither was tried.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from predict import measure, ours
from torch import Tensor

from napari_cellseg.images.read import read_tiff
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.network.folding import fold_norms
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN

CELLPOSE_TILE, CELLPOSE_OVERLAP = 224, 0.1
INSTANSEG_SCALE = 0.5
"""InstanSeg's model for bright field works at 0.5 um per px: half the size of these images."""


def model() -> CellMaskRCNN:
    network = load_checkpoint(bundled())[0]
    fold_norms(network)
    return network


def our_cells(rgb: np.ndarray) -> Callable[[], int]:
    network, options = model(), PredictOptions(test_time_augmentation="off")
    return lambda: ours(network, rgb, options)


def our_network(rgb: np.ndarray) -> Callable[[], int]:
    network = model()
    image = resized(tensor(rgb), network.config.working_scale)
    return lambda: len(network.detect([image])[0])


def torchvision_network(rgb: np.ndarray) -> Callable[[], int]:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    # At its usual size it would see an image of 800 px: here, as large as ours. 500 masks, as of a real image.
    side = 2 * max(rgb.shape[:2])
    network = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=5, min_size=side, max_size=side, box_detections_per_img=500
    ).eval()
    network.roi_heads.score_thresh = 0.0
    image = tensor(rgb)
    return lambda: len(network([image])[0]["scores"])


def cellpose_network(rgb: np.ndarray) -> Callable[[], int]:
    from cellpose.resnet_torch import CPnet
    from cellpose.transforms import make_tiles

    network = CPnet([2, 32, 64, 128, 256], 3, 3).eval()
    planes = tensor(rgb)[:2].numpy()  # one plane and an empty one, or two
    tiles = torch.from_numpy(make_tiles(planes, bsize=CELLPOSE_TILE, tile_overlap=CELLPOSE_OVERLAP)[0])
    tiles = tiles.reshape(-1, 2, CELLPOSE_TILE, CELLPOSE_TILE).float()
    return lambda: sum(len(network(part)[0]) for part in tiles.split(8))


def instanseg_network(rgb: np.ndarray) -> Callable[[], int]:
    from instanseg.utils.models.InstanSeg_UNet import InstanSeg_UNet

    network = InstanSeg_UNet(in_channels=3, layers=[256, 128, 64, 32], out_channels=[[2, 2, 1]]).eval()
    image = resized(tensor(rgb), INSTANSEG_SCALE)[None]
    height, width = (side - side % 32 for side in image.shape[-2:])
    return lambda: len(network(image[..., :height, :width]))


WAYS: dict[str, Callable[[np.ndarray], Callable[[], int]]] = {
    "ours, with cells": our_cells,
    "ours, the network": our_network,
    "torchvision's Mask R-CNN, ResNet-50": torchvision_network,
    "Cellpose 3, the network": cellpose_network,
    "InstanSeg, the network": instanseg_network,
}


def tensor(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1).float() / 255


def resized(image: Tensor, scale: float) -> Tensor:
    found: Tensor = torch.nn.functional.interpolate(image[None], scale_factor=scale, mode="bilinear")[0]
    return found


def one(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    rgb = read_tiff(options.image).rgb() if options.image else generate_tissue((1000, 1000), 556)[0]
    rgb = np.ascontiguousarray(rgb[: options.side, : options.side])
    work = WAYS[options.way](rgb)
    with torch.inference_mode():
        return measure(work, options.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--side", type=int, default=1000, help="of the part of the image, px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--way", choices=list(WAYS))
    options = parser.parse_args()
    if options.way:
        print(json.dumps(one(options)))
        return
    first: dict[str, Any] | None = None
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:
            why = (answer.stderr.strip().splitlines() or [f"ended with code {answer.returncode}"])[-1]
            print(f"{way:36} left out: {why[:110]}", flush=True)
            continue
        found = json.loads(answer.stdout.splitlines()[-1])
        first = first or found
        print(
            f"{way:36} {found['seconds']:6.2f} s ({found['cpu_seconds'] / first['cpu_seconds']:5.2f} of ours in CPU),"
            f" {found['extra_mib']:6.0f} MiB more ({found['extra_mib'] / first['extra_mib']:5.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()

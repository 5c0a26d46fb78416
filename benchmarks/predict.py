"""Time and memory of a prediction of a 1000 px tile: ours, and torchvision's plain way, on the same network.

Plain: the whole image at the working scale through the network, every mask pasted into a full-size float image by
``paste_masks_in_image``, thresholded, and turned into COCO RLE by pycocotools. Ours: tiles, crops, seams, own RLE.
Each runs in a separate process, so that its peak memory is measured alone.

    python benchmarks/predict.py [--image TIFF] [--side 1000] [--checkpoint FILE] [--threads 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from napari_cellseg.events import drive
from napari_cellseg.formats import rle
from napari_cellseg.images.read import read_tiff
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import load_checkpoint
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference.predict import Predictor
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.compiled import CompiledBackbone
from napari_cellseg.model.network.folding import fold_norms
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN


def ours(model: CellMaskRCNN, rgb: np.ndarray, options: PredictOptions) -> int:
    return len(rle.encode_all(drive(Predictor(model, None, Device("cpu", "benchmark"), options).image(rgb))))


def plain(model: CellMaskRCNN, rgb: np.ndarray) -> int:
    scale = model.config.working_scale
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    image = torch.nn.functional.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
    (found,) = model.detect([image[0]])
    pasted = paste_masks_in_image(found.mask_probs[:, None].cpu(), found.boxes.cpu() / scale, rgb.shape[:2])
    masks = (pasted[:, 0] > 0.5).numpy()
    return len([coco_mask.encode(np.asfortranarray(mask)) for mask in masks])


def measure(work: Callable[[], int], repeats: int) -> dict[str, Any]:
    """Return the best time and the peak resident memory above the initial memory, both after a warm-up."""
    cells = work()
    process, before = psutil.Process(), psutil.Process().memory_info().rss
    peak, done = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    times, cpu_times = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        work()
        times.append(time.perf_counter() - start)
        cpu_times.append(time.process_time() - cpu_start)
    done.set()
    watcher.join()
    return {
        "cells": cells,
        "seconds": min(times),
        "cpu_seconds": min(cpu_times),
        "extra_mib": (peak - before) / 2**20,
    }


def one(arguments: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(arguments.threads)
    if arguments.checkpoint:
        model = load_checkpoint(arguments.checkpoint, "cpu")[0]
    else:
        torch.manual_seed(0)
        # With random weights every RPN box is a cell; this many per tile give about as many cells as a real tile has.
        config = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(detection__per_image=60)
        model = build_model(config).eval()
    rgb = read_tiff(arguments.image).rgb() if arguments.image else generate_tissue((1000, 1000), 556)[0]
    rgb = np.ascontiguousarray(rgb[: arguments.side, : arguments.side])
    if arguments.way == "plain":
        # The whole image is one tile, so it needs the proposals and detections of all: as many as ours keeps, or 1,000.
        model.roi_heads.detections_per_img = 1000 if arguments.checkpoint else 500
        model.roi_heads.score_thresh = arguments.min_score
        return measure(lambda: plain(model, rgb), arguments.repeats)
    fold_norms(model)
    if arguments.way == "openvino":
        model.backbone = CompiledBackbone(model.backbone)
    options = PredictOptions(min_score=arguments.min_score, tile=arguments.tile, overlap=arguments.overlap)
    return measure(lambda: ours(model, rgb, options), arguments.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--min-score", type=float, default=0.2)
    parser.add_argument("--side", type=int, default=1000, help="of the part of the image that is predicted, px")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--overlap", type=int, default=192)
    parser.add_argument("--way", choices=["ours", "openvino", "plain"])
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(one(arguments)))
        return
    results = {}
    for way in ("ours", *(("openvino",) if find_spec("openvino") else ()), "plain"):
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:
            print(
                f"{way:>8}: ended with code {answer.returncode} (-9: no memory left) {answer.stderr[-300:]}", flush=True
            )
            continue
        results[way] = json.loads(answer.stdout.splitlines()[-1])
        found = results[way]
        print(
            f"{way:>8}: {found['seconds']:7.2f} s, {found['cpu_seconds']:7.2f} s of CPU,"
            f" {found['extra_mib']:7.0f} MiB more, {found['cells']} cells",
            flush=True,
        )
    if "openvino" in results:
        ratio = results["ours"]["cpu_seconds"] / results["openvino"]["cpu_seconds"]
        print(f"with the runtime openvino, ours is {ratio:.2f} times as fast, in seconds of CPU")
    if "plain" not in results:
        return
    faster = results["plain"]["seconds"] / results["ours"]["seconds"]
    leaner = results["plain"]["extra_mib"] / max(1.0, results["ours"]["extra_mib"])
    print(f"ours is {faster:.1f} times as fast and takes {leaner:.0f} times less memory")


if __name__ == "__main__":
    main()

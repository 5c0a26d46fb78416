"""From the output of the mask head to COCO RLE: ours against torchvision's paste and pycocotools' encode, in one run.

500 detections of nucleus size (boxes of 10-60 px) in an image of 1000 x 1000 px; both sides must give the same masks.
Peak memory: numpy's allocations (tracemalloc) for ours; the growth of the process for torch, whose allocations
tracemalloc does not see. Linux only.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import argparse
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from napari_cellseg.formats.rle import encode_all
from napari_cellseg.model.inference.paste import paste_crops

SIZE = (1000, 1000)


def detections(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Make soft masks (N, 28, 28) float32, blobs with a soft border, and boxes (N, 4) float32."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28].astype(np.float32)
    centres, radii = generator.uniform(11, 17, (count, 2, 1, 1)), generator.uniform(8, 14, (count, 2, 1, 1))
    radius = np.hypot((x - centres[:, 0]) / radii[:, 0], (y - centres[:, 1]) / radii[:, 1])
    soft = 1 / (1 + np.exp(6 * (radius - 1)))
    sides = generator.uniform(10, 60, (count, 2))
    corners = generator.uniform(-5, np.array(SIZE[::-1]) - sides + 5)
    return soft.astype(np.float32), np.concatenate([corners, corners + sides], 1).astype(np.float32)


def ours(soft: np.ndarray, boxes: np.ndarray) -> list[str]:
    count = len(soft)
    return encode_all(paste_crops(soft, boxes, SIZE, np.ones(count), np.ones(count)))


def plain(soft: np.ndarray, boxes: np.ndarray) -> list[str]:
    pasted = paste_masks_in_image(torch.from_numpy(soft)[:, None], torch.from_numpy(boxes), SIZE)
    masks = (pasted[:, 0] > 0.5).numpy().astype(np.uint8)
    return [coco_mask.encode(np.asfortranarray(mask))["counts"].decode("ascii") for mask in masks]


def memory_mib(field: str) -> float:
    """Return VmRSS (now) or VmHWM (the peak) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def timed(function: Callable[..., Any], repeats: int, *arguments: Any) -> tuple[float, Any]:
    """Return the best time in s, and the result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    count = parser.parse_args().count
    soft, boxes = detections(count)
    ours(soft[:4], boxes[:4])  # loads what is loaded once
    plain(soft[:4], boxes[:4])
    quick, found = timed(ours, 7, soft, boxes)
    tracemalloc.start()
    ours(soft, boxes)
    small = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = memory_mib("VmRSS")
    slow, expected = timed(plain, 1, soft, boxes)
    large = memory_mib("VmHWM") - before
    print(f"{count} detections, {SIZE[0]} x {SIZE[1]} px, paste and RLE")
    print(f"torchvision + pycocotools  {slow * 1000:9.1f} ms   peak memory +{large:7.1f} MiB")
    print(f"napari-cellseg             {quick * 1000:9.1f} ms   peak memory +{small:7.1f} MiB")
    same = sum(map(str.__eq__, found, expected))
    print(f"ratio                      {slow / quick:9.1f}      same masks: {same} of {count}")


if __name__ == "__main__":
    main()

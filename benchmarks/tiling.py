"""How many cells stay equal when the tile size changes: every pair of tile sizes, and each against one whole tile.

Two runs are compared by the cells they show (at or above the model's score thresholds): the share of equal cells is
twice the number of one-to-one pairs above an IoU, over the cells of both runs.

    python benchmarks/tiling.py --data consep/train [--images train_02 train_08 train_16] [--checkpoint FILE]
        [--tiles 512 1024 1600 4096] [--side 1000] [--precision fp32] [--threads 1] [--json FILE]

Without ``--data`` it runs on one drawn image, only to show that it works.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from napari_cellseg.events import drive
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, choose_device
from napari_cellseg.model.inference.predict import ModelCache, Predictor
from training.dataset import find_samples

IOUS = (0.9, 0.5)
Pixels = npt.NDArray[np.uint8]


def cells_of(predictor: Predictor, rgb: Pixels, thresholds: npt.NDArray[np.float64]) -> InstanceMasks:
    """Return the cells of an image at or above the thresholds, (K + 1,) by class_id."""
    cells = drive(predictor.image(rgb))
    return cells.select(cells.scores >= thresholds[cells.class_ids])


def equal_pairs(first: InstanceMasks, second: InstanceMasks, least_iou: float) -> int:
    """Return the number of one-to-one pairs of cells with an IoU above ``least_iou``, which is at least 0.5."""
    i, j, shared = intersections(first, second)
    iou = shared / (first.areas[i] + second.areas[j] - shared)
    pairs = sorted(zip(-iou[iou > least_iou], i[iou > least_iou], j[iou > least_iou], strict=True))
    used: tuple[set[int], set[int]] = set(), set()
    for _, a, b in pairs:
        if a not in used[0] and b not in used[1]:
            used[0].add(a)
            used[1].add(b)
    return len(used[0])


def compare(by_tile: dict[int, list[InstanceMasks]]) -> dict[str, dict[str, float]]:
    """Return the shares of equal cells of every two tile sizes, over all images."""
    table = {}
    for a, b in combinations(by_tile, 2):
        images = list(zip(by_tile[a], by_tile[b], strict=True))
        cells = sum(len(x) + len(y) for x, y in images)
        table[f"{a} and {b}"] = {
            f"{iou}": 2 * sum(equal_pairs(x, y, iou) for x, y in images) / max(1, cells) for iou in IOUS
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="training folder or COCO file")
    parser.add_argument("--images", nargs="*", metavar="ID", help="of these images only")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--tiles", nargs="+", type=int, default=[512, 1024, 1600, 4096], help="network px")
    parser.add_argument("--side", type=int, default=1000, help="of the part of each image that is predicted, px")
    parser.add_argument("--precision", default="fp32", help="rounding changes cells too, so fp32 unless told otherwise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is None:
            write_training_folder(Path(scratch), images=1)
        samples = find_samples(options.data or Path(scratch)).samples
        chosen = [s for s in samples if options.images is None or s.image_id in options.images]
        images = [np.ascontiguousarray(read_image(s.image).rgb()[: options.side, : options.side]) for s in chosen]
    device: Device = choose_device("auto")
    model, header = ModelCache().get(options.checkpoint or bundled(), device)
    thresholds = np.array([0.0, *(header.thresholds or [0.5] * len(header.classes))])
    by_tile: dict[int, list[InstanceMasks]] = {}
    for tile in options.tiles:
        predictor = Predictor(model, header, device, PredictOptions(tile=tile, precision=options.precision))
        start = time.process_time()
        by_tile[tile] = [cells_of(predictor, rgb, thresholds) for rgb in images]
        counts = [len(cells) for cells in by_tile[tile]]
        print(f"tile {tile}: {sum(counts)} cells {counts}, {time.process_time() - start:.1f} s of CPU", flush=True)
    table = compare(by_tile)
    for pair, shares in table.items():
        print(f"tile {pair}: " + ", ".join(f"{share:.1%} equal at IoU > {iou}" for iou, share in shares.items()))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()

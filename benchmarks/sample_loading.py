"""Load one training sample: label images against one mask per cell, in time and in memory.

    python benchmarks/sample_loading.py [--size 1000] [--rounds 3]

Both read the same files (RGBA image, float64 label images, about 500 cells) and give one randomly flipped, turned,
shifted, zoomed and rotated view with boxes. The plain approach, which the training code of torchvision and most
tutorials take, makes a full-size mask of each cell and transforms it. Each runs in a process of its own; times are CPU
time, so that other work on the machine does not count; memory is the peak of the process over its level before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
import torch
from torchvision.ops import masks_to_boxes
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from napari_cellseg.images.samples import write_training_folder
from training.augment import Augmentation
from training.config import AugmentConfig
from training.dataset import find_samples, read_sample
from training.targets import targets_from_maps

SETTINGS = {"shift_scale_rotate": 1.0, "brightness_contrast": 0.0, "blur": 0.0, "hue_saturation_value": 0.0}


def ours(folder: Path, seed: int, crop: int | None) -> int:
    image = read_sample(find_samples(folder).samples[0])
    augment = Augmentation(AugmentConfig(crop=crop, **SETTINGS), class_count=4)
    _, class_maps = augment(image, seed)
    return len(targets_from_maps(class_maps)["boxes"])


def plain(folder: Path, seed: int, _: int | None) -> int:
    rng = np.random.default_rng(seed)
    place = find_samples(folder).samples[0].image.parent
    image = torch.from_numpy(tifffile.imread(place / "image.tif")[..., :3]).permute(2, 0, 1)
    masks = []
    for path in sorted(place.glob("class*.tif")):
        label_image = tifffile.imread(path)
        masks += [torch.from_numpy(label_image == value) for value in np.unique(label_image) if value]
    flips, turns = rng.random(2) < 0.5, int(rng.integers(4))
    angle, zoom = rng.uniform(-15, 15), rng.uniform(0.9, 1.1)
    shift = [int(s) for s in rng.uniform(-0.1, 0.1, 2) * image.shape[1]]

    def change(picture: torch.Tensor, interpolation: InterpolationMode) -> torch.Tensor:
        picture = transforms.affine(picture, angle, shift, zoom, [0.0, 0.0], interpolation)
        for flip, function in zip(flips, (transforms.horizontal_flip, transforms.vertical_flip), strict=True):
            picture = function(picture) if flip else picture
        return torch.rot90(picture, turns, (1, 2))

    image = change(image, InterpolationMode.BILINEAR).float() / 255
    changed = [change(mask[None].to(torch.uint8), InterpolationMode.NEAREST)[0] for mask in masks]
    stack = torch.stack([mask for mask in changed if mask.any()])
    return len(masks_to_boxes(stack))


def memory_mib(name: str) -> float:
    """Return "VmRSS" or "VmHWM" (its peak) of this process, MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def measure(name: str, folder: Path, rounds: int, crop: int | None) -> tuple[float, float, int]:
    torch.set_num_threads(1)
    load = {"ours": ours, "plain": plain}[name]
    with tempfile.TemporaryDirectory() as small:
        write_training_folder(Path(small), 1, (64, 64))
        load(Path(small), 0, crop)  # imports, thread pools and look-up tables are not part of a sample
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = memory_mib("VmRSS")
    seconds = []
    for seed in range(rounds):
        started = time.process_time()
        cells = load(folder, seed, crop)
        seconds.append(time.process_time() - started)
    extra = memory_mib("VmHWM") - before
    return min(seconds), extra, cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_training_folder(Path(folder), 1, (options.size, options.size))
        for label, name, crop, rounds in (
            ("one mask per cell", "plain", None, 1),
            ("label images, whole image", "ours", None, options.rounds),
            ("label images, 512 px crop", "ours", 512, options.rounds),
        ):
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                results[label] = process.submit(measure, name, Path(folder), rounds, crop).result()
    slowest = results["one mask per cell"]
    print(
        f"one sample of {options.size} x {options.size} px\n"
        f"{'':28}{'cells':>7}{'CPU s':>9}{'extra MiB':>11}{'times as fast':>15}"
    )
    for label, (seconds, extra, cells) in results.items():
        print(f"{label:28}{cells:7d}{seconds:9.3f}{extra:11.0f}{slowest[0] / seconds:15.0f}")


if __name__ == "__main__":
    main()

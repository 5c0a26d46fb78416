"""A synthetic slide predicted tile by tile: peak memory, time per Mpx, kills and resumed runs, and a part cut out.

    python benchmarks/slide.py [--mpx 4 25] [--images FOLDER] [--checkpoint FILE] [--glass 0.2] [--kills 3] [--seed 0]

The slide is a pyramid of JPEG tiles, made of images of FOLDER (or of drawn tissue) in random order and orientation. It
is predicted by the command, in a process of its own. Then it is predicted again and killed at random moments: the files
must be the same bytes, and no finished tile may be lost. Last, a part is cut out and predicted as a plain image: how
many of its cells does the slide have?
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.coco import read_image_ids, read_results
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import list_images, read_tiff
from napari_cellseg.images.samples import generate_tissue
from napari_cellseg.images.slide import open_slide
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.model.bundled import bundled

BLOCK, TILE, LEVELS = 960, 256, 5
UM = 0.25
GLASS = (243, 241, 238)
EDGE = 100
"""Width of the border of the part, px, in which its cells are not compared: it lacks what is around them."""

GRID = 64
"""The part starts on the grid of the network's coarsest features: a pixel has the same place in its feature."""

Pixels = npt.NDArray[np.uint8]

# Reads small slides by regions, too.
COMMAND = """
import sys
from napari_cellseg.images import slide
from napari_cellseg.cli import main
slide.REGION_BYTES = 0
sys.exit(main(sys.argv[1:]))
"""
PREDICT = """
import sys
from pathlib import Path
from napari_cellseg.events import SlideTileDone
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict import PredictItem, predict
from napari_cellseg.model.inference.predict_item import SlideTask
path, store, model = map(Path, sys.argv[1:])
item = PredictItem("slide", path, reading=ReadOptions(level=0), slide=SlideTask(store))
for event in predict([item], PredictOptions(device="cpu", checkpoint=model)):
    if isinstance(event, SlideTileDone):
        print(event.tile, flush=True)
"""


@dataclass(frozen=True)
class Run:
    """A finished process: wall and CPU seconds, and the largest resident memory, MiB."""

    seconds: float
    cpu_s: float
    peak_mib: float


def blocks_of(folder: Path | None, glass: float) -> list[Pixels]:
    """Return the images that the slide is made of, (BLOCK, BLOCK, 3); ``glass`` is the share of empty ones."""
    if folder is None:
        found = [generate_tissue((BLOCK, BLOCK), 500, seed=seed)[0] for seed in range(4)]
    else:
        images = (read_tiff(image.path).rgb() for image in list_images(folder)[:12])
        found = [rgb[:BLOCK, :BLOCK] for rgb in images if min(rgb.shape[:2]) >= BLOCK]
    rng = np.random.default_rng(0)
    empty = np.clip(np.array(GLASS) + rng.normal(0, 2, (BLOCK, BLOCK, 3)), 0, 255).astype(np.uint8)
    return [*found, *[empty] * round(len(found) * glass / max(1e-9, 1 - glass))]


class Mosaic:
    """The slide: which block is where, at any level, without an array of the whole."""

    def __init__(self, blocks: Sequence[Pixels], side: int, seed: int) -> None:
        self.side = side
        rng = random.Random(seed)
        count = -(-side // BLOCK)
        self._places = [[(rng.randrange(len(blocks)), rng.randrange(4)) for _ in range(count)] for _ in range(count)]
        self._blocks = blocks

    @functools.lru_cache(maxsize=256)  # noqa: B019 - one mosaic lives as long as the process
    def _block(self, number: int, turns: int, level: int) -> Pixels:
        block: npt.NDArray[Any] = np.rot90(self._blocks[number], turns).astype(np.float32)
        for _ in range(level):
            block = (block[::2, ::2] + block[1::2, ::2] + block[::2, 1::2] + block[1::2, 1::2]) / 4
        return np.ascontiguousarray(block.astype(np.uint8))

    def tiles(self, level: int) -> Iterator[Pixels]:
        """Yield the TIFF tiles of a level, row by row."""
        side, block = self.side >> level, BLOCK >> level
        for y in range(0, side, TILE):
            for x in range(0, side, TILE):
                tile = np.full((TILE, TILE, 3), GLASS, np.uint8)
                for i in range(y // block, -(-min(y + TILE, side) // block)):
                    for j in range(x // block, -(-min(x + TILE, side) // block)):
                        top, left = max(y, i * block), max(x, j * block)
                        bottom, right = min(y + TILE, (i + 1) * block), min(x + TILE, (j + 1) * block)
                        pixels = self._block(*self._places[i][j], level)
                        tile[top - y : bottom - y, left - x : right - x] = pixels[
                            top - i * block : bottom - i * block, left - j * block : right - j * block
                        ]
                yield tile


def write_slide(path: Path, mosaic: Mosaic) -> None:
    per_cm = 10_000 / UM
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for level in range(LEVELS):
            side = mosaic.side >> level
            tif.write(
                mosaic.tiles(level),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                subifds=None if level else LEVELS - 1,
                subfiletype=1 if level else 0,
                resolution=(per_cm / 2**level, per_cm / 2**level),
                resolutionunit="CENTIMETER",
            )


def measured(command: Sequence[str]) -> Run:
    """Run a process to its end; one that fails ends the benchmark."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def command(path: Path, out: Path, model: Path, *more: str) -> list[str]:
    words = ["predict", str(path), "--out", str(out), "--device", "cpu", "--checkpoint", str(model), "--quiet", *more]
    return [sys.executable, "-c", COMMAND, *words]


def killed_run(path: Path, out: Path, model: Path, tiles: int, kills: int, rng: random.Random) -> tuple[int, int]:
    """Predict and kill at random tiles, then finish by the command; return the kills and the finished tiles lost."""
    store = out / "cells" / "slide.sqlite"
    lost = done = 0
    for stop in sorted(rng.sample(range(1, tiles), min(kills, tiles - 1))):
        words = [sys.executable, "-c", PREDICT, str(path), str(store), str(model)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reported = 0
            for line in process.stdout:
                reported = int(line)
                if reported >= stop:
                    time.sleep(rng.uniform(0, 0.5))  # anywhere in the next tile
                    process.kill()
                    break
        with CellStore.open(store) as kept:
            lost = max(lost, reported - sum(state == "done" for state in kept.tiles().values()))
        done += 1
    measured(command(path, out, model, "--level", "0"))
    return done, lost


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cut_out(path: Path, store: Path, folder: Path, options: argparse.Namespace) -> tuple[int, float, float]:
    """Return the cells of a part in the middle as a plain image, and which shares the slide has at IoU 0.9 and 0.5."""
    with open_slide(path, ReadOptions(level=0)) as slide:
        box = densest(store, slide.shape[0], options)
        pixels = slide[box[1] : box[3], box[0] : box[2]]
    place: dict[str, Any] = {"resolution": (10_000 / UM,) * 2, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(folder / "part.tif", pixels, photometric="rgb", **place)
    measured(command(folder / "part.tif", folder / "part", options.checkpoint))
    min_score = options.min_score
    ids = read_image_ids(folder / "part" / "test_image_name_to_ids.json")
    (alone,) = read_results(folder / "part" / "test-results.json", ids).values()
    with CellStore.open(store, read_only=True) as cells:
        near = cells.in_box(box).cells
        side = cells.image_size[0]
    there = near.select(near.scores >= min_score / 2).shifted(-box[0], -box[1], pixels.shape[:2])
    margins = np.array([EDGE * (box[0] > 0), EDGE * (box[1] > 0), EDGE * (box[2] < side), EDGE * (box[3] < side)])
    low, high = margins[:2], np.array([box[2] - box[0], box[3] - box[1]]) - margins[2:]
    inside = (alone.boxes[:, :2] >= low).all(1) & (alone.boxes[:, 2:] <= high).all(1)
    alone = alone.select(inside & (alone.scores >= min_score))
    best = best_iou(alone, there)
    return len(alone), float((best > 0.9).mean()), float((best > 0.5).mean())


def densest(store: Path, side: int, options: argparse.Namespace) -> tuple[int, int, int, int]:
    """Return the part of the slide, x0, y0, x1, y1 px, that has most cells."""
    starts = range(0, max(1, side - options.part + 1), max(GRID, options.part // GRID * GRID))
    parts = [(x, y, min(side, x + options.part), min(side, y + options.part)) for y in starts for x in starts]
    with CellStore.open(store, read_only=True) as cells:
        return max(parts, key=lambda box: int((cells.in_box(box).cells.scores >= options.min_score).sum()))


def best_iou(cells: InstanceMasks, others: InstanceMasks) -> npt.NDArray[np.float64]:
    """Return the largest IoU of each cell with any of the others, (N,)."""
    i, j, shared = intersections(cells, others)
    best = np.zeros(len(cells))
    np.maximum.at(best, i, shared / (cells.areas[i] + others.areas[j] - shared))
    return best


def bench(mpx: float, blocks: Sequence[Pixels], folder: Path, options: argparse.Namespace) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    side = round((mpx * 1e6) ** 0.5)
    path = folder / "slide.tif"
    write_slide(path, Mosaic(blocks, side, options.seed))
    run = measured(command(path, folder / "whole", options.checkpoint, "--level", "0"))
    store = folder / "whole" / "cells" / "slide.sqlite"
    with CellStore.open(store, read_only=True) as cells:
        states = list(cells.tiles().values())
        count = len(cells)
    predicted = states.count("done")
    sizes = [file.stat().st_size / 2**20 for file in (path, store)]
    print(
        f"{side} x {side} px: {count:,} cells in {predicted} tiles, and {states.count('glass')} tiles of glass; "
        f"{run.seconds:.0f} s, {run.cpu_s:.0f} s of CPU, {run.cpu_s / mpx:.2f} s of CPU per Mpx, "
        f"peak {run.peak_mib:.0f} MiB; slide {sizes[0]:.0f} MiB, cells {sizes[1]:.0f} MiB",
        flush=True,
    )
    formats = ("coco", "geojson", "measurements")
    again = measured(command(path, folder / "whole", options.checkpoint, "--level", "0", "--to", *formats))
    print(f"  files of all cells from the store: {again.cpu_s:.0f} s of CPU, peak {again.peak_mib:.0f} MiB", flush=True)
    steps: list[Callable[[], bool]] = []
    if options.kills and predicted > 1:
        steps.append(lambda: _kill(path, folder, predicted, options))
    if options.part:
        steps.append(lambda: _cut(path, store, folder, options))
    failed = [step for step in steps if not step()]
    if failed:
        raise SystemExit(1)


def _kill(path: Path, folder: Path, tiles: int, options: argparse.Namespace) -> bool:
    rng = random.Random(options.seed)
    kills, lost = killed_run(path, folder / "killed", options.checkpoint, tiles, options.kills, rng)
    same = len({hash_of(folder / name / "test-results.json") for name in ("whole", "killed")}) == 1
    print(
        f"  {kills} kills: {lost} finished tiles lost, results are the {'same' if same else 'WRONG'} bytes", flush=True
    )
    return same and not lost


def _cut(path: Path, store: Path, folder: Path, options: argparse.Namespace) -> bool:
    count, at_90, at_50 = cut_out(path, store, folder, options)
    print(
        f"  {options.part} px cut out: {count} cells with a score of {options.min_score:g} or more; "
        f"the slide has {at_90:.1%} of them at IoU > 0.9, {at_50:.1%} at IoU > 0.5",
        flush=True,
    )
    return at_50 > 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpx", type=float, nargs="+", default=[4], help="sizes of the slide")
    parser.add_argument("--images", type=Path, help=f"folder of images of {BLOCK} px or more")
    parser.add_argument("--checkpoint", type=Path, default=bundled(), help="model file (default: the bundled model)")
    parser.add_argument("--glass", type=float, default=0.2, help="share of the slide that is empty")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--part", type=int, default=1000, help="side of the part that is cut out, px; 0: none")
    parser.add_argument("--min-score", type=float, default=0.5, help="of the cells of the part that are compared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    blocks = blocks_of(options.images, options.glass)
    print(json.dumps({"cores": os.cpu_count(), "blocks": len(blocks), "glass": options.glass}), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for mpx in options.mpx:
            bench(mpx, blocks, (options.folder or Path(scratch)) / f"{mpx:g}", options)


if __name__ == "__main__":
    main()

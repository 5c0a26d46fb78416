"""How good the first answer is when a user clicks a cell that the model missed, and how soon it comes.

On the tiles of CoNSeP that the bundled model never saw (train_02, 08, 16, 24 and 27; its model card names them): 100
clicks at the centres of ground-truth cells that no shown cell covers and that match none (IoU below 0.5). The answer is
the one of the window: the proposals below the minimum score, the heads on boxes around the click, else the stain. One
correction is one step of the wheel or one drawn box (the box of the ground truth, each side off by up to 1 px),
whichever is best. The last lines say what limits it: the mask head in the exact box, and a click off the centre.

    CELLSEG_DATA=FOLDER python benchmarks/click_to_cell.py [--clicks 100] [--threads 2] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_cellseg.events import ImageDone
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.images.read import read_tiff
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import choose_device
from napari_cellseg.model.inference.predict import ModelCache, PredictItem, predict
from napari_cellseg.model.inference.prompted import PromptedModel
from napari_cellseg.model.inference.prompts import CellAnswer, CellPrompt, Way, region_around
from napari_cellseg.model.inference.stain import answer_by_stain

UNSEEN = ("train_02", "train_08", "train_16", "train_24", "train_27")


@dataclass(frozen=True)
class Tile:
    """A tile, and what the model found in it."""

    name: str
    rgb: np.ndarray
    truth: InstanceMasks
    shown: np.ndarray  # bool: pixels of cells that are shown
    hidden: InstanceMasks  # proposals below the minimum score
    missed: tuple[tuple[int, int, int], ...]  # cell of the truth, y, x


def tile_of(name: str, folder: Path, found: InstanceMasks, header: CheckpointHeader) -> Tile:
    rgb = read_tiff(folder / "image.tif").rgb()
    truth = to_instances(read_class_images(folder, rgb.shape[:2]), rgb.shape[:2])
    least = np.array([0.0, *(header.thresholds or ())])[found.class_ids]
    shown = found.select(found.scores >= least)
    covered = shown.paste(np.ones(len(shown), int)) > 0
    i, j, shared = intersections(truth, shown)
    best = np.zeros(len(truth))
    np.maximum.at(best, i, shared / (truth.areas[i] + shown.areas[j] - shared))
    places = [(k, *centre(truth, k)) for k in range(len(truth)) if best[k] < 0.5]
    missed = tuple((k, y, x) for k, y, x in places if not covered[y, x])
    return Tile(name, rgb, truth, covered, found.select(found.scores < least), missed)


def centre(cells: InstanceMasks, k: int) -> tuple[int, int]:
    """Return the pixel of a cell that is nearest to its centre of mass."""
    rows, columns = np.nonzero(cells.masks[k])
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return int(rows[nearest] + cells.boxes[k, 1]), int(columns[nearest] + cells.boxes[k, 0])


def prompt_of(tile: Tile, scale: float, box: tuple[float, ...], is_click: bool) -> CellPrompt:
    size = tile.rgb.shape[:2]
    x0, y0, x1, y1 = region = region_around(box, scale, size)
    x, y = round(box[0]), round(box[1])
    boxes = tile.hidden.boxes
    at = (boxes[:, 0] <= x) & (x < boxes[:, 2]) & (boxes[:, 1] <= y) & (y < boxes[:, 3])
    covering = [
        tuple(boxes[i].tolist()) for i in np.flatnonzero(at) if tile.hidden.masks[i][y - boxes[i, 1], x - boxes[i, 0]]
    ]
    return CellPrompt(
        image_key=tile.name,
        image_size=size,
        region=region,
        pixels=np.ascontiguousarray(tile.rgb[y0:y1, x0:x1]),
        taken=tile.shown[y0:y1, x0:x1],
        point=(box[1], box[0]) if is_click else None,
        drawn=None if is_click else box,
        proposals=covering if is_click else (),
    )


def iou(cells: InstanceMasks, k: int, truth: InstanceMasks, of: int) -> float:
    _, _, shared = intersections(cells.select([k]), truth.select([of]))
    together = int(shared.sum())
    return together / float(cells.areas[k] + truth.areas[of] - together)


class Score:
    """What is counted."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.wheel: list[float] = []
        self.box: list[float] = []
        self.exact: list[float] = []
        self.off: list[float] = []
        self.ways: list[Way | None] = []
        self.by_way: dict[Way | None, list[float]] = {}
        self.times: list[float] = []
        self.again: list[float] = []
        self.processor: list[float] = []


def first_of(answer: CellAnswer | None, truth: InstanceMasks, of: int) -> float:
    return 0.0 if answer is None else iou(answer.sizes, answer.first, truth, of)


def click(
    model: PromptedModel, scale: float, tile: Tile, place: tuple[int, int, int], rng: np.random.Generator, score: Score
) -> None:
    of, y, x = place
    prompt = prompt_of(tile, scale, (x, y, x, y), is_click=True)
    begin, processor = time.perf_counter(), time.process_time()
    answer = model.answer(prompt) or answer_by_stain(prompt)
    score.times.append(time.perf_counter() - begin)
    score.processor.append(time.process_time() - processor)
    begin = time.perf_counter()
    model.answer(prompt)
    score.again.append(time.perf_counter() - begin)
    value = first_of(answer, tile.truth, of)
    score.first.append(value)
    score.ways.append(None if answer is None else answer.way)
    score.by_way.setdefault(score.ways[-1], []).append(value)
    steps = [] if answer is None else [k for k in (answer.first - 1, answer.first + 1) if 0 <= k < len(answer.sizes)]
    score.wheel.append(max([value, *(iou(answer.sizes, k, tile.truth, of) for k in steps)]))
    exact = tile.truth.boxes[of].astype(float)
    drawn = tuple((exact + rng.integers(-1, 2, 4)).tolist())
    for box, values in ((drawn, score.box), (tuple(exact.tolist()), score.exact)):
        asked = prompt_of(tile, scale, box, is_click=False)
        values.append(first_of(model.answer(asked) or answer_by_stain(asked), tile.truth, of))
    side = np.sqrt(tile.truth.areas[of])
    dy, dx = rng.uniform(-0.2, 0.2, 2) * side
    off = prompt_of(tile, scale, (x + dx, y + dy, x + dx, y + dy), is_click=True)
    score.off.append(first_of(model.answer(off) or answer_by_stain(off), tile.truth, of))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = Path(os.environ.get("CELLSEG_DATA", "")) / "consep" / "train"
    if not os.environ.get("CELLSEG_DATA") or not data.is_dir():
        print("Skipped: set CELLSEG_DATA to the folder that has consep/train/train_02/image.tif and class*.tif.")
        return
    torch.set_num_threads(options.threads)
    cache, device, settings = ModelCache(), choose_device("cpu"), PredictOptions(device="cpu")
    network, header = cache.get(bundled(), device)
    items = [PredictItem(name, data / name / "image.tif") for name in UNSEEN]
    found = {e.image_id: e.instances for e in predict(items, settings, cache=cache) if isinstance(e, ImageDone)}
    tiles = [tile_of(name, data / name, found[name], header) for name in UNSEEN]
    every = [(tile, place) for tile in tiles for place in tile.missed]
    rng = np.random.default_rng(options.seed)
    chosen = [every[i] for i in rng.permutation(len(every))[: options.clicks]]
    model, score = PromptedModel(network, header, device, settings), Score()
    for tile, place in chosen:
        click(model, header.config.working_scale, tile, place, rng, score)
    report(score, len(every))


def report(score: Score, missed: int) -> None:
    corrected = np.maximum(score.wheel, score.box)
    stated = [np.array(times) * 1e3 for times in (score.times, score.again, score.processor)]
    print(
        f"{len(score.first)} of {missed} missed cells, load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads"
    )
    rows = (
        ("first answer (target 0.70)", score.first),
        ("after one step of the wheel", score.wheel),
        ("after one drawn box", score.box),
        ("after the better of the two (target 0.80)", corrected),
        ("exact box of the ground truth", score.exact),
        ("click up to a fifth of the cell off its centre", score.off),
    )
    for name, values in rows:
        good = float(np.mean(np.array(values) >= 0.5))
        print(f"  IoU {np.mean(values):.3f}, median {np.median(values):.3f}, above 0.5 {good:4.0%}   {name}")
    for way, values in score.by_way.items():
        name = "nothing" if way is None else way.value
        print(f"  {len(values) / len(score.first):4.0%} by {name}, IoU {np.mean(values):.3f}")
    names = ("a new region", "the same region again", "a new region, processor time of all threads")
    for name, values in zip(names, stated, strict=True):
        print(f"  {np.median(values):.0f} ms, 95 % within {np.percentile(values, 95):.0f} ms   {name}")


if __name__ == "__main__":
    main()

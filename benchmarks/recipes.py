"""Compare training recipes on equal images, backbone and splits.

Every recipe changes one thing in ``lite``, and is trained for ``--steps`` steps from equal initial weights
(``--start-from``) on equal crops. A prediction recipe predicts with the weights of ``lite``. The recipe ``original``
(of the work that this project grew from) trains for as many CPU seconds as ``lite`` took on the same split. Each is
measured on whole validation images. The results are kept in ``--out``, one JSON file per recipe and seed; a recipe with
a result is not trained again. The table gives means over the splits, and for AP50 and PQ the differences from ``lite``
on the same split, with their deviation.

    python benchmarks/recipes.py [--data FOLDER] [--out FOLDER] [--recipes lite original ...] [--seeds 1 2] [--steps 9]

Without ``--data`` it runs on a few drawn images, only to show that it works.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import ImageDone, RunStarted, StepDone
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict import predict
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.network.build import build_model
from training.config import TrainConfig
from training.dataset import find_samples, read_sample
from training.engine import train
from training.evaluate import Evaluation, evaluate
from training.resume import read_state
from training.validation import truth_of

RECIPES: dict[str, dict[str, Any]] = {
    "lite": {},
    "original": {},
    "from ImageNet": {"start_from": "imagenet"},
    "learning rate 3e-4": {"optimizer__learning_rate": 3e-4},
    "learning rate 1e-3": {"optimizer__learning_rate": 1e-3},
    "scale 1.5": {"model__working_scale": 1.5},
    "proposals at stride 4 too": {
        "model__rpn__anchor_sizes": ((10, 14, 20), (16, 24, 36), (54, 80, 120), (180, 260, 380))
    },
    "the original's anchors": {"model__rpn__anchor_sizes": ((32,), (64,), (128,), (256,))},
    "the original's optimiser": {
        "optimizer__learning_rate": 5e-5,
        "optimizer__weight_decay": 5e-4,
        "optimizer__schedule": "constant",
        "optimizer__warmup_steps": 0,
        "optimizer__ema_decay": None,
    },
    "the original's scale": {"model__working_scale": 0.8},
    "no IoU in the score": {"model__box_head__iou_score": False, "model__detection__min_score": 0.05},
    "30 cells copied": {"augment__copies": 30},
    "outlines count threefold": {"model__mask_head__boundary_weight": 2.0},
    "anchors of one shape": {"model__rpn__aspect_ratios": (1.0,)},
    "768 boxes, 192 masks a crop": {"model__box_head__samples": 768, "model__mask_head__samples": 192},
    "masks of 56": {"model__mask_head__pool": 28},
    "a mask for each class": {"model__mask_head__class_agnostic": False},
    "two backbone stages frozen": {"model__backbone__frozen_stages": 2},
    "no class balance": {"augment__class_balance": 0.0},
    "class balance 0.8": {"augment__class_balance": 0.8},
    "focal loss": {"model__box_head__loss": "focal"},
    "Dice loss": {"model__mask_head__dice_weight": 1.0},
    "no stain jitter": {"augment__stain": 0.0},
    "strong stain jitter": {"augment__stain_strength": 0.15},
    "dropout 0.2": {"model__box_head__dropout": 0.2},
    "no running average": {"optimizer__ema_decay": None},
    "crops of 384 px, 4 a step": {"augment__crop": 384, "optimizer__batch": 4},
}
PREDICTION: dict[str, dict[str, Any]] = {
    "predicted in 4 views": {"test_time_augmentation": True},
    "predicted at scale 1.5": {"scale": 1.5},
    "predicted at scale 2.5": {"scale": 2.5},
}
# A short run needs a fast warm-up, and a running average that forgets the start.
SHORT_RUN = 500  # steps; from here on the preset's own are right
SHORT = {
    "optimizer__warmup_steps": 20,
    "optimizer__ema_decay": 0.98,
}
COLUMNS = ("ap50", "ap50_max100", "pq", "dq", "sq", "f1", "dice", "aji")
DIFFERENCES = ("ap50", "pq")
TIMES = ("steps", "train_cpu_s", "image_cpu_s")


def config_of(recipe: str, classes: ClassTable, seed: int, steps: int, start_from: str) -> TrainConfig:
    """Return the settings of a recipe, without validation during the run, so that all time goes to training."""
    shared = {
        "epochs": 100_000,
        "seed": seed,
        "device": "cpu",
        "stopping__patience": None,
        "stopping__monitor": "train_loss",
        "validation__examples": 0,
        "validation__max_images": 1,
        "validation__window": 64,
        "validation__every": 100_000,
    }
    if recipe == "original":
        same_backbone = {"model__backbone__name": "tf_efficientnet_lite0", "start_from": "imagenet"}
        return TrainConfig.preset("original", classes).with_changes(**shared, **same_backbone)
    course = SHORT if steps < SHORT_RUN else {}
    common = {**shared, **course, "max_steps": steps, "start_from": start_from}
    return TrainConfig.preset("lite", classes).with_changes(**{**common, **RECIPES[recipe]})


def train_for(config: TrainConfig, data: Path, folder: Path, cpu_s: float) -> tuple[int, float]:
    """Train until the run or the time ends; return steps and CPU seconds."""
    started, steps = time.process_time(), 0
    run = train(config, data, folder)
    for event in run:
        if isinstance(event, RunStarted):
            started = time.process_time()
        elif isinstance(event, StepDone):
            steps += 1
            if time.process_time() - started > cpu_s:
                run.close()  # writes the state to resume from
                break
    return steps, time.process_time() - started


def weights_at_the_end(config: TrainConfig, folder: Path) -> Path:
    """Return a model file of the latest state, of its running average if there is one."""
    state = read_state(folder / "last.pt")
    weights = state["model"]
    if state["averaged"] is not None:
        prefix = "module."
        weights = {k.removeprefix(prefix): v for k, v in state["averaged"].items() if k.startswith(prefix)}
    model = build_model(config.model)
    model.load_state_dict(weights)
    save_checkpoint(folder / "end.safetensors", model, CheckpointMetadata(name=config.name))
    return folder / "end.safetensors"


def measure(checkpoint: Path, data: Path, folder: Path, options: Mapping[str, Any]) -> tuple[Evaluation, float]:
    """Compare whole validation images with the ground truth; also return the CPU seconds an image."""
    held_back = json.loads((folder / "split.json").read_text())["validation"]
    dataset = find_samples(data)
    samples = {sample.image_id: sample for sample in dataset.samples if sample.image_id in held_back}
    items = [PredictItem(name, sample.image) for name, sample in samples.items()]
    found: dict[str, InstanceMasks] = {}
    started = time.process_time()
    for event in predict(items, PredictOptions(checkpoint=checkpoint, device="cpu", **options)):
        if isinstance(event, ImageDone):
            found[event.image_id] = event.instances
    seconds = (time.process_time() - started) / len(items)
    truth = {name: truth_of(read_sample(sample)) for name, sample in samples.items()}
    return evaluate(truth, found, dataset.classes), seconds


def trained(recipe: str, seed: int, options: argparse.Namespace) -> tuple[Path, int, float]:
    """Train a recipe, or find its trained model; return the model file, the steps and their CPU seconds."""
    folder = options.out / _file_name(recipe, seed)
    told = folder / "trained.json"
    if not told.exists():
        config = config_of(recipe, find_samples(options.data).classes, seed, options.steps, options.start_from)
        cpu_s = trained("lite", seed, options)[2] if recipe == "original" else math.inf
        steps, seconds = train_for(config, options.data, folder, cpu_s)
        weights_at_the_end(config, folder)
        told.write_text(json.dumps([steps, seconds]))
    return (folder / "end.safetensors", *json.loads(told.read_text()))


def result_of(recipe: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train and measure, or read the stored result."""
    path = options.out / f"{_file_name(recipe, seed)}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    checkpoint, steps, seconds = trained("lite" if recipe in PREDICTION else recipe, seed, options)
    evaluation, tile_s = measure(checkpoint, options.data, checkpoint.parent, PREDICTION.get(recipe, {}))
    times = {"steps": steps, "train_cpu_s": seconds, "image_cpu_s": tile_s}
    result = {"recipe": recipe, "seed": seed, **times, **evaluation.flat()}
    path.write_text(json.dumps(result, indent=1))
    print(f"{recipe}, seed {seed}: {steps} steps, {seconds:.0f} s of CPU, AP50 {result['ap50']:.3f}", flush=True)
    return result


def _file_name(recipe: str, seed: int) -> str:
    return f"{recipe}-{seed}".replace(" ", "_")


def table(results: Iterable[dict[str, Any]]) -> str:
    """Return means over the seeds, and differences from ``lite`` with their sample deviation, as Markdown."""
    groups: dict[str, dict[int, dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["recipe"], {})[result["seed"]] = result
    titles = ["recipe", "splits", "steps", "CPU s", "CPU s an image", *COLUMNS, *(f"{n} - lite" for n in DIFFERENCES)]
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for recipe, group in groups.items():
        average = {name: statistics.mean(result[name] for result in group.values()) for name in (*TIMES, *COLUMNS)}
        cells = [recipe, str(len(group)), f"{average['steps']:.0f}", f"{average['train_cpu_s']:.0f}"]
        cells += [f"{average['image_cpu_s']:.1f}", *(f"{average[name]:.3f}" for name in COLUMNS)]
        cells += [_difference(group, groups.get("lite", {}), name) for name in DIFFERENCES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(group: dict[int, dict[str, Any]], lite: dict[int, dict[str, Any]], name: str) -> str:
    values = [group[seed][name] - lite[seed][name] for seed in group if seed in lite]
    if not values or group is lite:
        return "-"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="where runs and results are kept")
    parser.add_argument("--recipes", nargs="+", choices=[*RECIPES, *PREDICTION], default=["lite", "original"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--start-from", default="imagenet", help="first weights: imagenet or a model file")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        options.out = options.out or Path(temporary) / "runs"
        options.out.mkdir(parents=True, exist_ok=True)
        if options.data is None:
            options.data = Path(temporary) / "drawn"
            write_training_folder(options.data, images=4, size=(256, 256))
        pairs = [(recipe, seed) for recipe in options.recipes for seed in options.seeds]
        results = [result_of(recipe, seed, options) for recipe, seed in pairs]
    print("\n" + table(results))


if __name__ == "__main__":
    main()

"""Training recipes side by side: the same images, the same backbone, several splits, and their accuracy.

Every recipe changes one thing of ``lite``, and is trained for ``--epochs`` epochs from the same first weights. The
recipe ``original`` (of the work that this project grew from) gets as many CPU seconds as ``lite`` took on the same
split, and the weights that it has by then. Each is measured on whole images that were held back. The results are kept
in ``--out``, one JSON file a recipe and seed: what is there is not trained again.

    python benchmarks/recipes.py [--data FOLDER] [--out FOLDER] [--recipes lite original ...] [--seeds 1 2] [--epochs 5]

Without ``--data``, and with two epochs, it runs on a few drawn images: only to see that it works.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import ImageDone, RunStarted, StepDone
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.build import build_model
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.predict import predict
from napari_cellseg.model.predict_item import PredictItem
from napari_cellseg.samples import write_training_folder
from training.config import TrainConfig
from training.dataset import find_samples, read_sample
from training.engine import train
from training.evaluate import Evaluation, evaluate
from training.resume import read_state
from training.validation import truth_of

RECIPES: dict[str, dict[str, Any]] = {
    "lite": {},
    "original": {},
    "learning rate 3e-4": {"optimizer__learning_rate": 3e-4},
    "learning rate 1e-3": {"optimizer__learning_rate": 1e-3},
    "scale 1.5": {"model__working_scale": 1.5},
    "two backbone stages frozen": {"model__backbone__frozen_stages": 2},
    "no class balance": {"augment__class_balance": 0.0},
    "class balance 0.6": {"augment__class_balance": 0.6},
    "focal loss": {"model__box_head__loss": "focal"},
    "Dice loss": {"model__mask_head__dice_weight": 1.0},
    "no stain jitter": {"augment__stain": 0.0},
}
# What a short run needs: a fast warm-up, and a running average that does not look back at the start.
SHORT = {
    "optimizer__learning_rate": 6e-4,
    "optimizer__warmup_steps": 40,
    "optimizer__ema_decay": 0.98,
}
COLUMNS = ("ap50", "ap50_max100", "pq", "dq", "sq", "f1", "dice", "aji")


def config_of(recipe: str, classes: ClassTable, seed: int, epochs: int) -> TrainConfig:
    """Return the settings of a recipe; nothing is measured in between, so that all time goes to training."""
    shared = {
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
        return TrainConfig.preset("original", classes).with_changes(**shared, **same_backbone, epochs=100_000)
    return TrainConfig.preset("lite", classes).with_changes(**{**shared, **SHORT, "epochs": epochs, **RECIPES[recipe]})


def train_for(config: TrainConfig, data: Path, folder: Path, cpu_s: float) -> tuple[int, float]:
    """Train until the run or the time ends; returns steps and CPU seconds."""
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
    """Return a model file of the last state: of its running average, where there is one."""
    state = read_state(folder / "last.pt")
    weights = state["model"]
    if state["averaged"] is not None:
        prefix = "module."
        weights = {k.removeprefix(prefix): v for k, v in state["averaged"].items() if k.startswith(prefix)}
    model = build_model(config.model)
    model.load_state_dict(weights)
    save_checkpoint(folder / "end.safetensors", model, CheckpointMetadata(name=config.name))
    return folder / "end.safetensors"


def measure(checkpoint: Path, data: Path, folder: Path) -> Evaluation:
    """Compare whole images that were held back with their labels."""
    held_back = json.loads((folder / "split.json").read_text())["validation"]
    dataset = find_samples(data)
    samples = {sample.image_id: sample for sample in dataset.samples if sample.image_id in held_back}
    items = [PredictItem(name, sample.image) for name, sample in samples.items()]
    found: dict[str, InstanceMasks] = {}
    for event in predict(items, PredictOptions(checkpoint=checkpoint, device="cpu")):
        if isinstance(event, ImageDone):
            found[event.image_id] = event.instances
    truth = {name: truth_of(read_sample(sample)) for name, sample in samples.items()}
    return evaluate(truth, found, dataset.classes)


def result_of(recipe: str, seed: int, epochs: int, data: Path, out: Path) -> dict[str, Any]:
    """Train and measure, or read what was measured."""
    path = out / f"{recipe}-{seed}.json".replace(" ", "_")
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    config = config_of(recipe, find_samples(data).classes, seed, epochs)
    cpu_s = result_of("lite", seed, epochs, data, out)["train_cpu_s"] if recipe == "original" else math.inf
    folder = out / path.stem
    steps, seconds = train_for(config, data, folder, cpu_s)
    evaluation = measure(weights_at_the_end(config, folder), data, folder)
    result = {"recipe": recipe, "seed": seed, "steps": steps, "train_cpu_s": seconds, **evaluation.flat()}
    path.write_text(json.dumps(result, indent=1))
    print(f"{recipe}, seed {seed}: {steps} steps, {seconds:.0f} s of CPU, AP50 {result['ap50']:.3f}", flush=True)
    return result


def table(results: Iterable[dict[str, Any]]) -> str:
    """Return mean and spread (sample deviation) over the seeds, as Markdown."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["recipe"], []).append(result)
    lines = [f"| recipe | splits | steps | CPU s | {' | '.join(COLUMNS)} |", "| --- " * (4 + len(COLUMNS)) + "|"]
    for recipe, group in groups.items():
        average = [round(statistics.mean(result[name] for result in group)) for name in ("steps", "train_cpu_s")]
        cells = [recipe, len(group), *average]
        for name in COLUMNS:
            values = [result[name] for result in group]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="where runs and results are kept")
    parser.add_argument("--recipes", nargs="+", choices=sorted(RECIPES), default=["lite", "original"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary) / "runs"
        out.mkdir(parents=True, exist_ok=True)
        if options.data is None:
            options.data = Path(temporary) / "drawn"
            write_training_folder(options.data, images=4, size=(256, 256))
        pairs = [(recipe, seed) for seed in options.seeds for recipe in options.recipes]
        results = [result_of(recipe, seed, options.epochs, options.data, out) for recipe, seed in pairs]
    print("\n" + table(results))


if __name__ == "__main__":
    main()

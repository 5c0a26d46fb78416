"""Where the time of a training epoch goes: data, forward, backward, optimiser, saving, validation.

    python benchmarks/epoch_time.py [DATA] [--epochs 1] [--set optimizer.batch=2 ...]

Runs a real training of the lite preset in a temporary folder and prints the share of each part. Without DATA, a
training folder of four drawn images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from napari_cellseg.events import EpochDone, StepDone
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from training import engine, records, validation
from training.config import TrainConfig
from training.dataset import find_samples
from training.step import Stepper

SECONDS: dict[str, float] = defaultdict(float)


def timed(owner: Any, name: str, label: str) -> None:
    function: Callable[..., Any] = getattr(owner, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            SECONDS[label] += time.perf_counter() - started

    setattr(owner, name, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    changes = dict(item.split("=", 1) for item in options.set)
    timed(Stepper, "_backward", "forward and backward")
    timed(CellMaskRCNN, "forward", "forward (also in validation)")
    timed(Stepper, "_update", "clipping, optimiser, running average")
    timed(Stepper, "step", "whole step")
    timed(records, "write_state", "state to resume from")
    timed(records, "save_best", "best model")
    timed(records, "plot_run", "plots")
    timed(records, "write_examples", "example pictures")
    timed(validation, "evaluate", "comparing cells")
    timed(validation, "_losses", "validation loss")

    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            options.data = Path(folder) / "drawn"
            write_training_folder(options.data, images=4)
        config = TrainConfig.preset("lite", find_samples(options.data).classes).with_changes(
            epochs=options.epochs,
            max_steps=options.max_steps,
            **{name.replace(".", "__"): yaml.safe_load(value) for name, value in changes.items()},
        )
        run(config, options.data, Path(folder) / "run")


def run(config: TrainConfig, data: Path, folder: Path) -> None:
    started = last = time.perf_counter()
    steps = 0
    for event in engine.train(config, data, folder):
        now = time.perf_counter()
        if isinstance(event, StepDone):
            SECONDS["between events: steps with their data"] += now - last
            steps += 1
            print(f"step {event.step}/{event.steps} loss {event.losses['loss']:.3f} {event.images_per_s:.2f} images/s")
        elif isinstance(event, EpochDone):
            print(f"epoch {event.epoch}: {event.seconds:.1f} s, ap50 {event.metrics.get('ap50')}")
        elif steps:
            SECONDS["between events: validation and saving"] += now - last
        last = now
    waited = SECONDS["between events: steps with their data"] - SECONDS["whole step"] - SECONDS["state to resume from"]
    SECONDS["waiting for data, and the loop itself"] = waited
    total = time.perf_counter() - started
    print(f"\n{steps} steps, {total:.1f} s in all")
    for label, seconds in sorted(SECONDS.items(), key=lambda item: -item[1]):
        print(f"{label:45} {seconds:8.2f} s {100 * seconds / total:5.1f} %")


if __name__ == "__main__":
    main()

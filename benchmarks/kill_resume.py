"""Kill a training run with SIGKILL at random moments and resume it, repeatedly, until it is done.

    python benchmarks/kill_resume.py [--kills 10] [--seed 0] [--limit 480] [--folder DIR]

After every kill it checks that the state and the best model can be read and that at most one chunk of work is lost; at
the end, that the weights equal those of a run that was never killed, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_cellseg.errors import CheckpointError
from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from napari_cellseg.model.checkpoint import load_weights
from training.config import TrainConfig
from training.resume import read_state

CHUNKS = 5

TRAIN = """
import sys
from pathlib import Path
import torch
from training.config import TrainConfig
from training.engine import train
torch.set_num_threads(1)
config, data, run, resume = sys.argv[1:]
for event in train(TrainConfig.load(Path(config)), Path(data), Path(run), resume=resume == "resume"):
    pass
"""


@dataclass(frozen=True)
class Outcome:
    """The outcome: kills survived, maximum work lost, and max |dW| against a run that was never killed."""

    kills: int
    unreadable: int
    most_steps_lost: int
    steps_a_chunk: int
    difference: float


def settings(epochs: int) -> TrainConfig:
    return TrainConfig.preset("lite", TISSUE_CLASSES).with_changes(
        start_from="random",
        device="cpu",
        model__backbone__name="test_resnet",
        model__fpn__channels=16,
        model__box_head__hidden=32,
        model__mask_head__channels=8,
        model__working_scale=1.0,
        model__detection__min_score=0.3,
        augment__crop=64,
        epochs=epochs,
        data__views=4,
        data__chunks=CHUNKS,
        data__validation_fraction=0.17,
        optimizer__batch=1,
    )


def start(config: Path, data: Path, run: Path) -> subprocess.Popen[bytes]:
    how = "resume" if (run / "last.pt").exists() else "new"
    if how == "new" and run.exists():  # killed before the first state was written: the run never began
        for file in run.iterdir():
            if file.is_file():
                file.unlink()
    return subprocess.Popen([sys.executable, "-c", TRAIN, str(config), str(data), str(run), how])


def steps_logged(run: Path) -> int:
    """Return the last reported step of the run, from events.jsonl."""
    steps = 0
    if (run / "events.jsonl").exists():
        for line in (run / "events.jsonl").read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # the last line, cut by the kill
                continue
            if event["event"] == "StepDone":
                steps = (event["epoch"] - 1) * event["steps"] + event["step"]
    return steps


def kill_and_resume(folder: Path, kills: int, seed: int, epochs: int, limit_s: float) -> Outcome:
    config, data = folder / "config.yaml", folder / "data"
    settings(epochs).save(config)
    write_training_folder(data, 6, (96, 96))
    rng = random.Random(seed)
    end = time.monotonic() + limit_s
    finish(start(config, data, folder / "whole"), end, "the run that is not killed")
    run = folder / "killed"
    unreadable = most_lost = done = 0
    steps_an_epoch = 5 * 4  # images that train, views of each
    steps_a_chunk = steps_an_epoch // CHUNKS
    # Not at random times: a fast machine would be done before the last kill.
    kill_until = end - 0.25 * limit_s  # what is left then is for the rest of the run
    for step in sorted(rng.sample(range((epochs - 1) * steps_an_epoch), kills)):
        if time.monotonic() > kill_until:
            print(f"the machine is slow: time for {done} of {kills} kills", flush=True)
            break
        process = start(config, data, run)
        while steps_logged(run) <= step and time.monotonic() < end:
            if process.poll() is not None:
                raise SystemExit("resuming failed")
            time.sleep(0.05)  # the run shares the cores with this loop
        time.sleep(rng.uniform(0, 0.3))  # anywhere within a few steps, and in what is written after them
        process.kill()
        process.wait()
        done += 1
        lost, broken = look(run)
        unreadable += broken
        most_lost = max(most_lost, lost)
        print(f"kill {done}: {steps_logged(run)} steps reported, {lost} lost, {broken} files unreadable", flush=True)
    finish(start(config, data, run), end, "the resumed run")
    return Outcome(done, unreadable, most_lost, steps_a_chunk, difference(folder / "whole", run))


def finish(process: subprocess.Popen[bytes], end: float, name: str) -> None:
    """Wait for a training run; one that fails, or does not end in time, fails the benchmark."""
    try:
        code = process.wait(max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise SystemExit(f"{name} did not end in time") from None
    if code != 0:
        raise SystemExit(f"{name} failed")


def look(run: Path) -> tuple[int, int]:
    """Return how many steps are lost, and how many files cannot be read."""
    unreadable, kept = 0, 0
    if (run / "last.pt").exists():
        try:
            kept = read_state(run / "last.pt")["progress"]["step"]
        except CheckpointError as error:
            print(error)
            unreadable += 1
    if (run / "best.safetensors").exists():
        try:
            load_weights(run / "best.safetensors")
        except CheckpointError as error:
            print(error)
            unreadable += 1
    return max(0, steps_logged(run) - kept), unreadable


def difference(first: Path, second: Path) -> float:
    """Return max |dW| of the trained and the averaged weights."""
    a, b = (read_state(run / "last.pt") for run in (first, second))
    pairs = [(a[part][name], b[part][name]) for part in ("model", "averaged") for name in a[part]]
    return max(
        float((x.double() - y.double()).abs().max()) for x, y in pairs if isinstance(x, torch.Tensor) and x.numel()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument(
        "--limit", type=float, default=480, help="seconds; fewer kills on a slow machine (default: 480)"
    )
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        outcome = kill_and_resume(folder, options.kills, options.seed, options.epochs, options.limit)
    print(outcome)
    if not outcome.kills or outcome.unreadable or outcome.difference or outcome.most_steps_lost > outcome.steps_a_chunk:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_setup import run, tiny_config, tissue

from napari_cellseg.events import StepDone
from training.config import TrainConfig
from training.distributed import precision_of
from training.run_folder import RunFolder

WORKER = str(Path(__file__).with_name("distributed_worker.py"))
BOTH = tiny_config(epochs=1, data__views=10, data__validation_fraction=0.34, optimizer__schedule="constant")
"""2 of 6 validation images, 4 x 10 views: 20 steps of two images."""


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [line["losses"]["loss"] for line in lines if line["event"] == "StepDone"]


def run_processes(command: list[str], config: TrainConfig, data: Path, folder: Path, *how: str) -> None:
    config.save(folder.parent / "config.yaml")
    arguments = [WORKER, str(folder.parent / "config.yaml"), str(data), str(folder), *how]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("starter", ["torchrun", "own"])
def test_two_processes_train_like_one_with_the_same_global_batch(starter: str, tmp_path: Path) -> None:
    data = tissue(tmp_path / "data", images=6)
    events = run(BOTH.with_changes(optimizer__accumulate=2), data, tmp_path / "one")
    alone = [event.losses["loss"] for event in events if isinstance(event, StepDone)]
    if starter == "torchrun":
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"]
        config = BOTH
    else:
        command, config = [sys.executable], BOTH.with_changes(devices=2)
    run_processes(command, config, data, tmp_path / "two")
    together = losses(tmp_path / "two")
    assert len(together) == len(alone) == 20
    assert together == pytest.approx(alone, abs=1e-3)
    assert alone[-1] < alone[0]
    one, two = (RunFolder(tmp_path / name).read_metrics()[-1] for name in ("one", "two"))
    assert two["val_loss"] == pytest.approx(one["val_loss"], abs=1e-2)
    assert two["ap50"] == pytest.approx(one["ap50"], abs=0.05)


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_after_its_step_limit(tmp_path: Path) -> None:
    data = tissue(tmp_path / "data", images=6)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29612"]
    run_processes(torchrun, BOTH.with_changes(max_steps=8), data, tmp_path / "run")
    run_processes(torchrun, BOTH.with_changes(max_steps=12), data, tmp_path / "run", "resume")
    whole = run(BOTH.with_changes(optimizer__accumulate=2, max_steps=12), data, tmp_path / "one")
    alone = [event.losses["loss"] for event in whole if isinstance(event, StepDone)]
    assert losses(tmp_path / "run") == pytest.approx(alone, abs=1e-3)


def test_precision_on_a_cpu_is_32_bit_unless_asked_for() -> None:
    assert precision_of("auto", "cpu") == "32-true"
    assert precision_of("bf16-mixed", "cpu") == "bf16-mixed"

"""The whole loop in a real window, with a real training run: on drawn tissue, and (slow) on real images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from training_settings import tiny_config

from napari_cellseg.formats.label_images import read_class_images
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.model.checkpoint import CheckpointMetadata, read_header, save_checkpoint
from napari_cellseg.model.network.build import build_model


def save_a_small_model(path: Path) -> None:
    torch.manual_seed(0)
    config = tiny_config(model__detection__min_score=0.05, model__detection__per_image=20).model
    save_checkpoint(path, build_model(config), CheckpointMetadata(name="small"))


def go_the_whole_way(tmp_path: Path, data: Path, start: str, settings: dict, limit_s: float) -> dict:
    out, options = tmp_path / "report.json", tmp_path / "options.json"
    options.write_text(
        json.dumps(
            {
                "settings_folder": str(tmp_path / "settings"),
                "data": str(data),
                "start": start,
                "settings": settings,
                "out": str(out),
                "limit_s": limit_s,
            }
        )
    )
    program = Path(__file__).with_name("whole_loop.py")
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", program, options],
        capture_output=True,
        text=True,
        timeout=limit_s + 100,
        check=False,
        env={**os.environ, "CELLSEG_MODELS": str(tmp_path / "models"), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-4000:]
    report = json.loads(out.read_text())
    assert "failed" not in report, f"{report['failed']}\n{json.dumps(report, indent=1)}\n{result.stderr[-3000:]}"
    return report


def check(report: dict, tmp_path: Path, epochs: int) -> None:
    assert report["closed"]
    assert report["reason without a folder"] == "Open a folder of annotated images, or choose other data."
    assert "corrections that are not in class*.tif yet" in report["data"]
    assert any(name.endswith(".bak") for name in report["written"])
    assert not report["modified after writing"]
    assert report["disabled in training"] == "Training is running. Stop it first."

    assert report["state after the click"] == "Stopping..."
    state, seconds, message = report["stopped"]
    assert state == "STOPPED"
    assert seconds < 10  # two seconds on a machine of its own; the benchmark measures it
    assert message == "Stopped (best and last model kept). Resume continues where the run stopped."
    assert "Unfinished run: " in report["offered"]

    state, error, summary = report["end"]
    assert (state, error) == ("FINISHED", "")
    assert summary.startswith(f"Finished after {epochs} epochs: all epochs done. Best epoch ")
    assert report["epochs"] == list(range(1, epochs + 1)), "an epoch was lost, or seen twice"
    assert 1 <= report["epochs at the stop"] < epochs
    assert report["points"]["train_loss"] == report["points"]["val_loss"] == epochs
    assert report["points"]["steps"] > 0
    assert report["points"]["ap50"] == epochs
    assert report["best"].startswith("Best AP50")
    assert report["example layer"] == f"Examples of epoch {epochs}: ground truth | prediction"

    model = Path(report["model"])
    assert model.parent == tmp_path / "models" / "runs"
    assert read_header(model, verify=True).provenance["data"]
    assert report["use"] == f'Segment now uses "{model.stem}" and the open image is segmented again.'
    assert report["segmented"][0] == "FINISHED", report["segmented"]
    assert report["compared"][0] == "FINISHED", report["compared"]
    assert "gained" in report["compared"][1]
    assert report["rows"] >= 2
    assert report["progress left"] == [], "napari's activity dock still shows work"
    assert not report["torch in the viewer"]
    deadline = time.monotonic() + 5
    while any(map(psutil.pid_exists, report["children"])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, report["children"])), "an orphan process"


@pytest.mark.gui
@pytest.mark.timeout(900)  # on a busy machine; else less than a minute
def test_from_a_corrected_cell_to_a_better_model_in_the_window(tmp_path):
    data, model = tmp_path / "tissue", tmp_path / "small.safetensors"
    write_training_folder(data, 4, (128, 128))
    save_a_small_model(model)
    settings = {
        "": {"epochs": 4},
        "data": {"views": 2, "chunks": 2},
        "augment": {"crop": 96},
        "optimizer": {"batch": 1, "learning_rate": 0.003},
    }
    before = read_class_images(data / "train" / "tissue_01")

    report = go_the_whole_way(tmp_path, data / "train", str(model), settings, 600)

    check(report, tmp_path, 4)
    after = read_class_images(data / "train" / "tissue_01")
    assert (after[1][2:8, 2:8] > 0).all(), "the cell that was added is not in class1.tif"
    assert any((before[class_id] != after[class_id]).any() for class_id in before)
    assert len(list((data / "train" / ".cellseg" / "runs").iterdir())) == 1, "the resumed run has its own folder"


@pytest.mark.gui
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_same_with_real_images_and_the_bundled_model(tmp_path, consep):
    data = tmp_path / "consep"
    for name in ("train_01", "train_02", "train_03"):
        shutil.copytree(consep / "train" / name, data / "train" / name)
    shutil.copy(consep / "classes.json", data)
    settings = {
        "": {"epochs": 2},
        "data": {"views": 4, "chunks": 2},
        "augment": {"crop": 256},
        "optimizer": {"batch": 1},
        "validation": {"window": 256},
    }
    report = go_the_whole_way(tmp_path, data / "train", "bundled", settings, 2000)
    check(report, tmp_path, 2)

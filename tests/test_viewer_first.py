from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tifffile
import torch

from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.build import build_model


def save_a_model(path: Path) -> None:
    """Save one that takes long enough to be stopped."""
    torch.manual_seed(0)
    few = {"detection__per_image": 20, "rpn__post_nms_test": 100, "detection__min_score": 0.0}
    few |= {"rpn__pre_nms_test": 100, "rpn__cap_side": None}
    config = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(**few)
    save_checkpoint(path, build_model(config), CheckpointMetadata(name="random"))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(2):
        tifffile.imwrite(folder / f"tissue_{i}.tif", generate_tissue((160, 160), 20, i)[0], photometric="rgb")
    return folder


@pytest.mark.gui
@pytest.mark.slow  # by default, test_whole_loop opens a viewer first and the plugin after it
@pytest.mark.timeout(900)  # on a busy machine; else 20 s
def test_a_viewer_first_and_the_plugin_after_it_open_run_stop_run_close(folder, tmp_path):
    model, out = tmp_path / "random.safetensors", tmp_path / "report.json"
    save_a_model(model)

    program = Path(__file__).with_name("viewer_first.py")
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", program, tmp_path / "settings", folder, model, out],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert result.returncode == 0, result.stderr[-4000:]
    report = json.loads(out.read_text())
    assert "failed" not in report, report["failed"]
    assert report["closed"]
    assert {"Open (napari-cellseg)", "Segment (napari-cellseg)"} <= set(report["docks"])
    assert report["reason without an image"] == "Open an image first."
    assert report["first"][0] == "FINISHED", report["first"]
    assert "cells" in report["first"][2]
    assert report["cells"] > 0
    assert report["layers"] == ["tissue_0", *TISSUE_CLASSES.names]
    assert report["painted"] > 0
    assert report["felt"] < 2
    assert report["stopped"][0] == "STOPPED"
    assert report["second"][0] == "FINISHED", report["second"]
    assert not report["torch in the viewer"]
    assert report["children"]
    deadline = time.monotonic() + 60
    while any(map(psutil.pid_exists, report["children"])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, report["children"])), "an orphan process"

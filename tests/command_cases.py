"""Shared by the tests of the command: a small random model, images, and one way to call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.network.build import build_model

SIZE = (96, 128)


def write_model(path: Path, **metadata: Any) -> Path:
    """Write a very small random model that finds something everywhere."""
    torch.manual_seed(0)
    config = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(
        backbone__name="test_resnet",
        fpn__channels=16,
        box_head__hidden=16,
        mask_head__channels=8,
        working_scale=1.0,
        rpn__pre_nms_test=60,
        rpn__post_nms_test=60,
        rpn__cap_side=None,
        detection__per_image=40,
        detection__min_score=0.01,
    )
    save_checkpoint(path, build_model(config), CheckpointMetadata(name="random", **metadata))
    return path


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """Write drawn tissue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, generate_tissue(size, 8, seed)[0], photometric="rgb")
    return path


def write_labelled(folder: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """Write drawn tissue and its true cells as one sample of a training folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rgb, cells = generate_tissue(size, 8, seed)
    tifffile.imwrite(folder / "image.tif", rgb, photometric="rgb")
    for class_id in np.unique(cells.class_ids).tolist():
        label_image = cells.select(cells.class_ids == class_id).paste(dtype=np.float64)
        tifffile.imwrite(folder / f"class{class_id}.tif", label_image)
    return folder


def in_child(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command, or a program, in a process of its own."""
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "napari_cellseg.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

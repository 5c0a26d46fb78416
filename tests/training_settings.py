"""A training that takes a step in a tenth of a second, for tests with and without torch in their process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_cellseg.classes import ClassTable
from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from training.config import TrainConfig


def tissue(folder: Path, images: int = 4, side: int = 128) -> Path:
    """Write drawn tissue as a training folder."""
    write_training_folder(folder, images, (side, side))
    return folder


def tiny_config(classes: ClassTable = TISSUE_CLASSES, **changes: Any) -> TrainConfig:
    """Return settings of a very small network: 2 epochs of 2 chunks, batch 1, with a running average of the weights."""
    settings: dict[str, Any] = {
        "start_from": "random",
        "device": "cpu",
        "model__backbone__name": "test_resnet",
        "model__fpn__channels": 16,
        "model__box_head__hidden": 32,
        "model__mask_head__channels": 8,
        "model__working_scale": 1.0,
        "model__detection__min_score": 0.3,
        "augment__crop": 96,
        "epochs": 2,
        "data__views": 1,
        "data__chunks": 2,
        "data__validation_fraction": 0.25,
        "optimizer__batch": 1,
        "optimizer__warmup_steps": 2,
        "optimizer__learning_rate": 3e-3,
        "validation__examples": 1,
        **changes,
    }
    return TrainConfig.preset("lite", classes).with_changes(**settings)

"""Write the model of a run with its metrics, score thresholds and provenance."""

from __future__ import annotations

import math
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_cellseg.atomic import write_errors
from napari_cellseg.errors import TrainingError
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from training.prepare import Prepared
from training.validation import Validation

__all__ = ["provenance", "save_best"]


def save_best(path: Path, parts: Prepared, validation: Validation | None) -> None:
    """Write the validated weights (the running average, where there is one) to ``path``, atomically.

    Raises
    ------
    TrainingError
        The file cannot be written.
    """
    finite = {name: value for name, value in parts.progress.best_metrics.items() if math.isfinite(value)}
    metadata = CheckpointMetadata(
        name=path.parent.name,
        metrics=finite,
        thresholds=tuple(validation.evaluation.thresholds.values()) if validation else None,
        statistics=parts.statistics,
        provenance=provenance(parts),
    )
    with write_errors(path, TrainingError):
        save_checkpoint(path, parts.evaluated, metadata)


def provenance(parts: Prepared) -> dict[str, Any]:
    """Return the provenance of a model: data, counts, seed, versions, and the command as given, paths included."""
    packages = ("napari-cellseg", "torch", "torchvision", "timm")
    return {
        "data": parts.data_name,
        "train_images": len(parts.train),
        "train_cells": parts.train_cells,
        "validation_images": len(parts.validation),
        "epoch": parts.progress.epoch,
        "steps": parts.progress.step,
        "seed": parts.config.seed,
        "preset": parts.config.name,
        "start_from": Path(parts.config.start_from).name,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }

"""The settings that *Train* uses: what fits the data and the start model, and the same as a command line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.preferences import preferences, recall, remember
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.presets import PRESETS
from training.config import TrainConfig
from training.report import DataReport
from training.suggest import continue_from, suggest

__all__ = ["command_line", "epoch_seconds", "fitted", "flat", "remember_speed", "start_hint"]


def fitted(report: DataReport, preset: str, start_from: str, header: CheckpointHeader | None) -> TrainConfig:
    """Return the preset fitted to the data; a start model brings its own network.

    Parameters
    ----------
    report : DataReport
        Without errors.
    preset : str
        Of `model.presets.PRESETS`.
    start_from : str
        "imagenet", "random", "bundled", "nuclei" or a model file.
    header : CheckpointHeader or None
        Of the model to start from, where there is one.

    Raises
    ------
    ConfigError
        The settings contradict each other.
    """
    config = suggest(report, preset).with_changes(start_from=start_from)
    if preferences().ram_budget_mib:
        config = config.with_changes(data__ram_budget_mib=preferences().ram_budget_mib)
    return config if header is None else continue_from(config, header)


def start_hint(header: CheckpointHeader | None, classes: ClassTable, preset: str, data_name: str) -> str:
    """Return how the start model fits preset, classes and data; "" when there is nothing to note."""
    if header is None:
        return ""
    lines = []
    if header.config.name != preset:
        lines.append(f"The network is the model's ({header.config.name}); the preset gives the rest.")
    if header.classes.names != classes.names:
        same_number = len(header.classes) == len(classes)
        lines.append(
            f"It was trained on {', '.join(header.classes.names)}; "
            + ("its class layer learns the new names." if same_number else "the class layer starts at random.")
        )
    if data_name and header.provenance.get("data") == data_name:
        lines.append("It was trained on data of this name, so validation figures may be too high.")
    return " ".join(lines)


def flat(settings: BaseModel | Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting with its dotted name; lists and class tables are one value."""
    data = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else settings
    for name, value in data.items():
        if isinstance(value, Mapping) and name != "classes":
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def command_line(config: TrainConfig, data: Path, run_folder: Path, *, resume: bool = False) -> str:
    """Return the ``napari-cellseg train`` line that does the same, settings and all.

    It names every setting that differs from its preset, so it does not depend on the memory of the computer it runs on.
    """
    words = ["napari-cellseg", "train", "--data", str(data), "--out", str(run_folder)]
    if resume:
        words.append("--resume")
    else:
        preset = config.name if config.name in PRESETS else "lite"
        plain = dict(flat(TrainConfig.preset(preset, config.classes)))
        changed = [(name, value) for name, value in flat(config) if value != plain.get(name, ...)]
        if any(name == "model.classes" for name, _ in flat(config)):
            changed.append(("model.classes", config.classes.to_json()))
        words += ["--preset", preset, "--as-is"]
        if changed:
            # JSON is YAML, which the command reads values as.
            words += ["--set", *(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in changed)]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def epoch_seconds(config: TrainConfig, report: DataReport) -> float | None:
    """Return the seconds per epoch, estimated from earlier runs on this machine; None without one."""
    try:
        speed = float(recall(_speed_name(config), "0"))
    except ValueError:  # edited by hand
        speed = 0.0
    images = round(len(report.images) * (1 - config.data.validation_fraction))
    return images * config.data.views * _area(config, report) / speed if speed > 0 and images else None


def remember_speed(config: TrainConfig, report: DataReport, images_per_s: float) -> None:
    """Store the speed of a run, network px per second."""
    remember(_speed_name(config), images_per_s * _area(config, report))


def _speed_name(config: TrainConfig) -> str:
    return f"training_speed/{config.model.backbone.name}/{config.device.replace(':', '')}"


def _area(config: TrainConfig, report: DataReport) -> float:
    """Return the network px of one view."""
    if config.augment.crop is not None:
        return float(config.augment.crop**2)
    areas = [image.size[0] * image.size[1] for image in report.images]
    return float(np.median(areas)) * config.model.working_scale**2

"""What the training tests share: a network that takes a step in a tenth of a second, and drawn tissue for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import TrainEvent
from napari_cellseg.samples import TISSUE_CLASSES, write_training_folder
from training.config import TrainConfig
from training.engine import train
from training.resume import read_state


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


def run(config: TrainConfig, data: Path, folder: Path, *, resume: bool = False) -> list[TrainEvent]:
    """Train to the end and return all events."""
    return list(train(config, data, folder, resume=resume))


def run_until(
    stop: Callable[[TrainEvent], bool], config: TrainConfig, data: Path, folder: Path, *, resume: bool = False
) -> list[TrainEvent]:
    """Train and close the generator at the first event for which ``stop`` is true, as a person's Stop does."""
    events = train(config, data, folder, resume=resume)
    seen = []
    for event in events:
        seen.append(event)
        if stop(event):
            break
    events.close()
    assert stop(seen[-1])
    return seen


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return every tensor of the resume state but the random generators', by its path in it."""
    state = read_state(folder / "last.pt")
    return dict(_flatten({name: state[name] for name in ("model", "averaged", "optimizer")}, ""))


def _flatten(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f"{name}/{key}")


def largest_difference(first: Path, second: Path) -> float:
    """Return max |dW| over all tensors of two runs' states."""
    a, b = tensors(first), tensors(second)
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a if a[name].numel())

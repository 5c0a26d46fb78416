"""What the training tests share: a network that takes a step in a tenth of a second, and drawn tissue for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from training_settings import tiny_config, tissue

from napari_cellseg.events import TrainEvent
from training.config import TrainConfig
from training.engine import train
from training.resume import read_state

__all__ = ["largest_difference", "run", "run_until", "tensors", "tiny_config", "tissue"]


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

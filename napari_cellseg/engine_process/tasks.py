"""What the engine process can be asked to do: a fixed table of core generators."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True)
class Task:
    """A core generator.

    Attributes
    ----------
    target : str
        ``module:function``; imported only where the task runs, since it brings torch.
    grace_s : float
        How long the generator may take to clean up after a stop, before the process is killed.
    """

    target: str
    grace_s: float = 0.3

    def load(self) -> Callable[..., Generator[Any, None, Any]]:
        """Import the generator function."""
        module, name = self.target.split(":")
        function: Callable[..., Generator[Any, None, Any]] = getattr(importlib.import_module(module), name)
        return function


def warm_up() -> Generator[None, None, None]:
    """Import what a prediction needs."""
    importlib.import_module("napari_cellseg.model.predict")
    yield from ()


TASKS = {
    "warm_up": Task("napari_cellseg.engine_process.tasks:warm_up"),
    "predict": Task("napari_cellseg.model.predict:predict"),
    # Time to write a checkpoint from which the run can be resumed.
    "train": Task("training.engine:train", grace_s=2.0),
}

"""What the engine process can be asked to do: a fixed table of core generators."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["TASKS", "Task", "TaskRunner"]


@dataclass(frozen=True)
class Task:
    """A core generator.

    Attributes
    ----------
    target : str
        ``module:name`` of a generator function, or of a class whose objects are called like one and keep something
        between calls. Imported only where the task runs, since it brings torch.
    grace_s : float
        How long the generator may take to clean up after a stop, before the process is killed.
    after_death : str
        What a person should know and do when the process died in the middle of it.
    """

    target: str
    grace_s: float = 0.3
    after_death: str = "Run again."


class TaskRunner:
    """Runs tasks in this process: imports each when first needed, and keeps what it keeps, such as a loaded model."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._loaded: dict[str, Callable[..., Generator[Any, None, Any]]] = {}

    def run(self, task: str, /, **arguments: Any) -> Generator[Any, None, Any]:
        """Make the generator of a task."""
        return self.load(task)(**arguments)

    def load(self, task: str) -> Callable[..., Generator[Any, None, Any]]:
        """Import what runs a task."""
        if task not in self._loaded:
            module, name = self._tasks[task].target.split(":")
            target = getattr(importlib.import_module(module), name)
            self._loaded[task] = target() if isinstance(target, type) else target
        return self._loaded[task]


def warm_up() -> Generator[None, None, None]:
    """Import what a prediction needs."""
    importlib.import_module("napari_cellseg.engine_process.prediction")
    yield from ()


TASKS = {
    "warm_up": Task("napari_cellseg.engine_process.tasks:warm_up"),
    "predict": Task("napari_cellseg.engine_process.prediction:Prediction"),
    # Time to finish a step and write the state from which the run can be resumed.
    "train": Task(
        "training.engine:train", grace_s=1.4, after_death="What the run had saved is kept: resume it to go on."
    ),
    "report": Task("training.report:scan_steps"),
    "compare": Task("training.compare:compare"),
}

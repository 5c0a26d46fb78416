"""The tasks of the engine process: a dataclass per task, and the table of their targets.

A task states the types of its events and of its result, and `targets` calls the core with its fields: a renamed
argument is a type error on both sides of the process border.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import Message, PredictEvent, PredictSummary, TrainEvent, TrainSummary
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.inference.prompts import CellAnswer, CellPrompt
from training.comparison import Comparison, ComparisonStep
from training.config import TrainConfig
from training.report import DataReport, ScanStep

__all__ = ["TASKS", "Compare", "Predict", "Prompt", "Report", "Run", "Target", "Task", "TaskRunner", "Train"]

E = TypeVar("E")
R = TypeVar("R")

Run = Callable[..., Generator[Any, None, Any]]
"""Runs a task by its name and arguments: `TaskRunner.run`, `EngineClient.run`."""


class Task(Generic[E, R]):
    """A task that yields events of type E, or None between them, and returns an R.

    Attributes
    ----------
    name : str
        Name in the table `TASKS`.
    """

    name: ClassVar[str]

    def on(self, run: Run) -> Generator[E | None, None, R]:
        """Run the task with a function that runs tasks by name."""
        return run(self.name, task=self)


@dataclass(frozen=True)
class Predict(Task[PredictEvent, PredictSummary]):
    """Find the cells of images; see `model.inference.predict.predict`."""

    name = "predict"
    items: Sequence[PredictItem]
    options: PredictOptions


@dataclass(frozen=True)
class Prompt(Task[Message, CellAnswer | None]):
    """Find the cell at a place; see `model.inference.prompted`. Without a prompt, only the model is loaded."""

    name = "prompt"
    prompt: CellPrompt | None
    options: PredictOptions


@dataclass(frozen=True)
class Train(Task[TrainEvent, TrainSummary]):
    """Train a model; see `training.engine.train`."""

    name = "train"
    config: TrainConfig
    data: Path
    run_folder: Path
    resume: bool = False


@dataclass(frozen=True)
class Report(Task[ScanStep, DataReport]):
    """Check training data; see `training.report.scan_steps`."""

    name = "report"
    data: Path
    classes: ClassTable | None = None


@dataclass(frozen=True, kw_only=True)
class Compare(Task[ComparisonStep | Message, Comparison]):
    """Compare two models on annotated images; see `training.compare.compare`."""

    name = "compare"
    data: Path
    old: Path | None
    new: Path
    image_ids: Sequence[str] | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Target:
    """The core generator that runs a task.

    Attributes
    ----------
    target : str
        ``module:name`` of a generator function, or of a class whose objects are called like one and keep state
        between calls. Imported only where the task runs, because it loads torch.
    grace_s : float
        How long the generator may clean up after a stop before the process is killed, s.
    after_death : str
        Advice for the user if the process died during the task.
    """

    target: str
    grace_s: float = 0.3
    after_death: str = "Run again."


class TaskRunner:
    """Runs tasks in this process: imports each when first needed, and keeps its state, such as a loaded model."""

    def __init__(self, tasks: Mapping[str, Target]) -> None:
        self._tasks = tasks
        self._loaded: dict[str, Callable[..., Generator[Any, None, Any]]] = {}

    def run(self, task: str, /, **arguments: Any) -> Generator[Any, None, Any]:
        """Return the generator of a task."""
        return self.load(task)(**arguments)

    def load(self, task: str) -> Callable[..., Generator[Any, None, Any]]:
        """Import and return the target of a task."""
        where = self._tasks[task].target  # tasks with the same target share its state
        if where not in self._loaded:
            module, name = where.split(":")
            target = getattr(importlib.import_module(module), name)
            self._loaded[where] = target() if isinstance(target, type) else target
        return self._loaded[where]


def warm_up() -> Generator[None, None, None]:
    """Import the modules that a prediction needs."""
    importlib.import_module("napari_cellseg.model.inference.predict")
    yield from ()


_TARGETS = "napari_cellseg.engine_process.targets"
TASKS: Mapping[str, Target] = {
    "warm_up": Target("napari_cellseg.engine_process.tasks:warm_up"),
    Predict.name: Target(f"{_TARGETS}:Prediction"),
    # An answer takes 0.1 s, the first one some seconds; a process that is killed meanwhile would have to start again.
    Prompt.name: Target(f"{_TARGETS}:Prediction", grace_s=10.0),
    # Time to finish a step and write the state from which the run can be resumed.
    Train.name: Target(
        f"{_TARGETS}:train", grace_s=1.4, after_death="The saved state of the run is kept. Resume the run to continue."
    ),
    Report.name: Target(f"{_TARGETS}:report"),
    Compare.name: Target(f"{_TARGETS}:compare"),
}

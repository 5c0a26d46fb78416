"""The targets of the tasks: each calls the core with the fields of its task. The core loads torch: import it late."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from napari_cellseg.engine_process.tasks import Compare, Predict, Prompt, Report, Train
from napari_cellseg.events import Message, TrainEvent, TrainSummary
from napari_cellseg.model.inference.prompts import CellAnswer
from training.comparison import Comparison, ComparisonStep
from training.report import DataReport, ScanStep

if TYPE_CHECKING:
    from napari_cellseg.model.inference.prompted import PromptedModel

__all__ = ["Prediction", "compare", "report", "train"]


class Prediction:
    """Predicts images and answers prompts; keeps the model loaded for the next task, and what it saw of an image."""

    def __init__(self) -> None:
        from napari_cellseg.model.inference.predict import ModelCache

        self._cache = ModelCache()
        self._prompted: tuple[object, PromptedModel] | None = None

    def __call__(self, task: Predict | Prompt) -> Generator[Any, None, Any]:
        """Predict images, or find the cell at a place."""
        if isinstance(task, Prompt):
            return self._answer(task)
        from napari_cellseg.model.inference.predict import predict

        self._prompted = None  # its features take memory
        return predict(task.items, task.options, cache=self._cache)

    def _answer(self, task: Prompt) -> Generator[Message, None, CellAnswer | None]:
        from napari_cellseg.model.bundled import bundled
        from napari_cellseg.model.device import choose_device
        from napari_cellseg.model.inference.prompted import PromptedModel

        device = choose_device(task.options.device)
        model, header = self._cache.get(task.options.checkpoint or bundled(), device, task.options.runtime)
        key = model, task.options
        if self._prompted is None or self._prompted[0] != key:
            self._prompted = key, PromptedModel(model, header, device, task.options)
        yield from ()
        return None if task.prompt is None else self._prompted[1].answer(task.prompt)


def train(task: Train) -> Generator[TrainEvent, None, TrainSummary]:
    """Train a model."""
    from training.engine import train as run

    return run(config=task.config, data=task.data, run_folder=task.run_folder, resume=task.resume)


def report(task: Report) -> Generator[ScanStep, None, DataReport]:
    """Check training data."""
    from training.report import scan_steps

    return scan_steps(data=task.data, classes=task.classes)


def compare(task: Compare) -> Generator[ComparisonStep | Message, None, Comparison]:
    """Compare two models."""
    from training.compare import compare as run

    return run(data=task.data, old=task.old, new=task.new, image_ids=task.image_ids, device=task.device)

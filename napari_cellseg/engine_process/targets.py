"""The targets of the tasks: each calls the core with the fields of its task. The core loads torch: import it late."""

from __future__ import annotations

from collections.abc import Generator

from napari_cellseg.engine_process.tasks import Compare, Predict, Report, Train
from napari_cellseg.events import Message, PredictEvent, PredictSummary, TrainEvent, TrainSummary
from training.comparison import Comparison, ComparisonStep
from training.report import DataReport, ScanStep

__all__ = ["Prediction", "compare", "report", "train"]


class Prediction:
    """Predicts, and keeps the model loaded for the next prediction."""

    def __init__(self) -> None:
        from napari_cellseg.model.inference.predict import ModelCache

        self._cache = ModelCache()

    def __call__(self, task: Predict) -> Generator[PredictEvent, None, PredictSummary]:
        """Predict images."""
        from napari_cellseg.model.inference.predict import predict

        return predict(task.items, task.options, cache=self._cache)


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

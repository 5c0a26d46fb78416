"""What the tests of *Train* share: a dock on drawn tissue, with an engine that answers immediately, as told."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.tasks import Report, Task, Train
from napari_cellseg.events import (
    CheckpointSaved,
    EpochDone,
    RunFinished,
    RunStarted,
    StepDone,
    StopReason,
    TrainSummary,
    ValidationStep,
)
from napari_cellseg.images.read import Image, ImageFile, read_tiff
from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from napari_cellseg.workspace import Sessions
from training.report import scan_steps
from training.run_folder import RunFolder

NAMES = TISSUE_CLASSES.names


def tissue_folder(folder: Path, images: int = 3, side: int = 96) -> Path:
    """Write drawn tissue; returns the folder that a person opens."""
    write_training_folder(folder, images, (side, side))
    return folder / "train"


def open_folder(state: Any, folder: Path) -> Sessions:
    """Open a folder, and its first image, without the jobs that do so in the viewer."""
    workspace = Sessions.of_folder(folder)
    state.set_workspace(workspace, workspace.project.images)
    if workspace.project.classes is not None:
        state.set_classes(workspace.project.classes)
    file: ImageFile = workspace.project.images[0]
    image: Image = read_tiff(file.path)
    state.set_current(file, image, workspace.open_session(file.image_id, image.size))
    return workspace


def step_done(epoch: int, step: int, steps: int = 4, loss: float = 1.0, **changes: Any) -> StepDone:
    values = {
        "epoch": epoch, "chunk": 1, "chunks": 2, "step": step, "steps": steps, "losses": {"loss": loss},
        "learning_rate": 3e-4, "images_per_s": 2.0, "seconds_left": 41.0, "ram_mib": 900.0, "vram_mib": 0.0,
    }  # fmt: skip
    return StepDone(**{**values, **changes})


def epoch_done(epoch: int, ap50: float, best: tuple[int, float] | None = None, patience: int = 10) -> EpochDone:
    best_epoch, best_value = best or (epoch, ap50)
    metrics = {
        "ap50": ap50,
        "val_loss": 1.5 - ap50,
        **{f"ap50/{name}": ap50 + 0.01 * i for i, name in enumerate(NAMES)},
    }
    waited = epoch - best_epoch
    return EpochDone(
        epoch=epoch,
        losses={"loss": 2.0 / epoch},
        metrics=metrics,
        monitor="ap50",
        is_best=best_epoch == epoch,
        best_epoch=best_epoch,
        best_value=best_value,
        epochs_without_improvement=waited,
        stops_in=patience - waited,
        seconds=12.0,
    )


def one_run(folder: Path, epochs: int = 3) -> list[Any]:
    """Return the events of a run that gets better and better."""
    events: list[Any] = [
        RunStarted(
            run_folder=folder,
            train_images=2,
            validation_images=1,
            train_cells=34,
            class_names=NAMES,
            first_epoch=1,
            epochs=epochs,
            device="cpu",
            reason="auto: CPU, no CUDA device found",
        )
    ]
    for epoch in range(1, epochs + 1):
        events += [step_done(epoch, step) for step in range(1, 5)]
        events += [ValidationStep(epoch, 1, 1), CheckpointSaved(folder / "best.safetensors", "best", epoch)]
        events += [CheckpointSaved(folder / "last.pt", "last", epoch), epoch_done(epoch, 0.1 * epoch)]
    return [
        *events,
        RunFinished(
            reason=StopReason.FINISHED,
            epochs=epochs,
            best_epoch=epochs,
            best_value=0.1 * epochs,
            checkpoint=folder / "best.safetensors",
        ),
    ]


class AnsweringEngine:
    """In place of `Engine.run`: checks data for real, and trains by giving ready-made events."""

    def __init__(self) -> None:
        self.tasks: list[Task[Any, Any]] = []
        self.events: Iterable[Any] | None = None
        self.error: Exception | None = None
        self.wait_s = 0.0

    @property
    def trained(self) -> list[Train]:
        """The runs that were asked for."""
        return [task for task in self.tasks if isinstance(task, Train)]

    def __call__(self, task: Task[Any, Any]) -> Iterator[Any]:
        self.tasks.append(task)
        if isinstance(task, Report):
            return scan_steps(task.data, task.classes)
        assert isinstance(task, Train)
        task.config.save(task.run_folder / "config.yaml")
        return self._train(task.run_folder)

    def _train(self, run_folder: Path) -> Iterator[Any]:
        for event in one_run(run_folder) if self.events is None else self.events:
            if isinstance(event, CheckpointSaved):
                event.path.write_bytes(b"weights")
            if self.error is not None and isinstance(event, EpochDone):
                raise self.error
            time.sleep(self.wait_s)
            RunFolder(run_folder).log(event)
            yield event
        return TrainSummary(
            run_folder=run_folder,
            reason=StopReason.FINISHED,
            epochs=3,
            best_epoch=3,
            best_value=0.3,
            checkpoint=run_folder / "best.safetensors",
        )


def square(side: int = 6) -> np.ndarray:
    return np.ones((side, side), bool)


def classes_of(names: Iterable[str]) -> ClassTable:
    return ClassTable(tuple(names))

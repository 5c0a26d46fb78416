"""The files that a run writes: metrics, plots, examples, the best model and the state to resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from napari_cellseg.errors import TrainingError
from training.best import save_best
from training.examples import write_examples
from training.mlflow_log import MlflowLog
from training.plots import plot_run
from training.prepare import Prepared
from training.resume import random_state, write_state
from training.run_folder import RunFolder
from training.tensorboard import ScalarLog
from training.validation import Validation

__all__ = ["Records"]


class Records:
    """Writes the files of a run; does nothing on a process that does not write.

    Every method raises a `TrainingError` when the disk is full or the folder is missing; existing files stay unchanged.
    """

    def __init__(self, folder: RunFolder, parts: Prepared) -> None:
        self.folder = folder
        self.parts = parts
        self.rows = folder.read_metrics(before_epoch=parts.progress.epoch)
        self.scalars = ScalarLog(folder)
        self.mlflow = MlflowLog(folder, parts.config.model_dump(mode="json"))

    def step(self, losses: Mapping[str, float]) -> None:
        """Write the losses of the latest step."""
        with self._writing():
            self.scalars.add("train", losses, self.parts.progress.step)

    def epoch(
        self, losses: Mapping[str, float], metrics: Mapping[str, float], seconds: float, validation: Validation | None
    ) -> None:
        """Write the row, the plots and the examples of the current epoch."""
        epoch = self.parts.progress.epoch
        rate = self.parts.optimizer.param_groups[0]["lr"]  # the heads'
        row = {"epoch": epoch, "step": self.parts.progress.step, "seconds": seconds, "learning_rate": rate}
        row |= {**{f"train_{name}": value for name, value in losses.items()}, **metrics}
        self.rows = [*self.rows, row]
        if not self.folder.writes:
            return
        with self._writing():
            self.scalars.add("epoch", row, epoch)
            self.mlflow.epoch(row, epoch)
            self.folder.write_metrics(self.rows)
            plot_run(self.folder.path, self.rows)
            if validation:
                classes = self.parts.config.classes
                write_examples(self.folder.examples, epoch, validation.examples, validation.evaluation, classes)

    def state(self, ended: str = "") -> None:
        """Write the state to resume; ``ended`` is the name of the `StopReason` of a run that has ended."""
        self.parts.progress.ended = ended
        if self.folder.writes:
            with self._writing():
                write_state(self.folder.last, {**self.parts.state(), "random": random_state()})

    def best(self, validation: Validation | None) -> None:
        """Write the validated model."""
        if self.folder.writes:
            with self._writing():
                save_best(self.folder.best, self.parts, validation)

    def close(self) -> None:
        """Write what is left."""
        with self._writing():
            self.scalars.close()
            self.mlflow.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"The run folder {self.folder.path} cannot be written: {error.strerror or error}. "
                "Free some disk space, then resume the run (--resume)."
            ) from error

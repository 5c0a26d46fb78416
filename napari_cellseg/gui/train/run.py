"""`TrainRun`: the work of *Train* outside the window: checks, training, comparison; one at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.tasks import Compare, Report, Train
from napari_cellseg.errors import CellSegError, TrainingError
from napari_cellseg.events import EpochDone, Message, TrainEvent
from napari_cellseg.export import ExportItem
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.train.examples import ExampleLayer
from napari_cellseg.gui.train.settings import remember_speed
from napari_cellseg.gui.train.tensorboard_server import TensorBoardServer
from napari_cellseg.model.library import ModelEntry, ModelLibrary
from napari_cellseg.workspace import Sessions
from napari_cellseg.workspace.own_labels import note_labels
from training.comparison import Comparison, ComparisonStep
from training.config import TrainConfig
from training.history import RunHistory
from training.past_runs import PastRun
from training.report import DataReport, ScanStep
from training.run_folder import RunFolder
from training.sources import Checked, TrainData, check_data, write_edits
from training.split import Split

__all__ = ["Plan", "TrainRun", "add_to_library", "compare_models"]

_ON_CLOSE_WRITING = "Writing class*.tif stops; the images that are left keep their files."
_ON_CLOSE_COPYING = "Copying the model into the library stops."


@dataclass(frozen=True)
class Plan:
    """A run as it was started: everything the command line needs."""

    config: TrainConfig
    data: Path
    folder: Path
    resume: bool = False
    is_trial: bool = False
    """Whether *Review* asked for the run: its model is then tried on the image, to be kept or dropped."""


class TrainRun(QObject):
    """The engine of *Train* and the jobs on it; an engine does one task at a time, so at most one job is busy.

    Parameters
    ----------
    state : AppState
    engine : Engine
        Where models are trained and compared.

    Attributes
    ----------
    examples : ExampleLayer
    board : TensorBoardServer
    """

    changed = Signal()
    """Emitted when a job starts or ends, or `history` is replaced."""
    told = Signal()
    """`history` has more."""

    def __init__(self, state: AppState, engine: Engine) -> None:
        super().__init__(state)
        self._state = state
        self.engine = engine
        # Here, not in the dock: the layer and the server stay when the dock is closed, and it finds them again.
        self.examples = ExampleLayer(state)
        self.board = TensorBoardServer(state)
        self.history = RunHistory()
        self.plan: Plan | None = None
        self.checked: Checked | None = None
        self.check_job = Job(state, "checking the training data")
        self.write_job = Job(state, "writing class*.tif", on_close=_ON_CLOSE_WRITING)
        self.job = Job(state, "training", self.engine.hold, on_close=self._on_close)
        self.use_job = Job(state, "adding a model to the library", on_close=_ON_CLOSE_COPYING)
        self.compare_job = Job(state, "comparing two models", on_close="Comparing two models stops.")
        self.trial_job = Job(state, "trying the new model", on_close="Trying the new model stops; its file stays.")
        self._written: Sessions | None = None
        for job in (self.check_job, self.write_job, self.job, self.use_job, self.compare_job, self.trial_job):
            job.changed.connect(self.changed)
        self.changed.connect(self._tell)
        self.check_job.finished.connect(self._on_checked)
        self.write_job.finished.connect(self._on_written)
        self.job.reported.connect(self._on_event)
        self.job.failed.connect(self._on_failed)

    @property
    def is_busy(self) -> bool:
        """Return whether a job is running."""
        return any(job.is_busy for job in (self.check_job, self.write_job, self.job, self.compare_job, self.trial_job))

    def _on_close(self) -> str:
        done = self.history.last_epoch
        at = f" at epoch {done.epoch} of {self.history.epochs}" if done is not None else ""
        return f"Training{at} stops; it can be resumed."

    def close(self) -> None:
        """End the engine."""
        self.engine.shutdown()

    def _tell(self) -> None:
        if self._state.is_training != self.is_busy:
            self._state.is_training = self.is_busy
            self._state.training_changed.emit()

    # ---- before ----

    def check(self, data: TrainData, items: Sequence[ExportItem], classes: ClassTable | None) -> None:
        """Check the data; ``check_job`` reports `ScanStep` and returns `Checked`."""
        scan, known = partial(_scan, self.engine), self.checked
        self.check_job.start(lambda: check_data(scan, data, items, classes, known))

    def write(self, workspace: Sessions, items: Sequence[ExportItem]) -> None:
        """Write corrected cells to ``class*.tif``."""
        self._written = workspace
        project = workspace.project
        self.write_job.start(lambda: write_edits(project, items))

    # ---- the run ----

    def start(self, plan: Plan) -> None:
        """Train."""
        config = plan.config
        self._begin(plan, RunHistory(plan.folder, config.validation.every, config.stopping.monitor))

    def resume(self, past: PastRun) -> None:
        """Resume a stopped run.

        Raises
        ------
        ConfigError
            Its settings cannot be read.
        """
        config = TrainConfig.load(past.folder / "config.yaml")
        plan = Plan(config, past.data, past.folder, resume=True)
        self._begin(plan, RunHistory.of_folder(past.folder, config.validation.every, config.stopping.monitor))

    def _begin(self, plan: Plan, history: RunHistory) -> None:
        self.plan, self.history = plan, history
        engine = self.engine
        task = Train(plan.config, plan.data, plan.folder, resume=plan.resume)
        self.job.start(lambda: engine.run(task))

    # ---- after ----

    @property
    def best(self) -> Path | None:
        """Return the model of the best epoch so far; None before there is one."""
        path = None if self.plan is None or not self.history.has_model else RunFolder(self.plan.folder).best
        return path if path is not None and path.exists() else None

    def use(self) -> None:
        """Copy the best model into the library; ``use_job`` returns its `ModelEntry`."""
        assert self.plan is not None, "the button is disabled before there is a model"
        folder = self.plan.folder
        self.use_job.start(lambda: add_to_library(folder))

    def compare(self, old: Path) -> None:
        """Compare the best model with another one on the validation images; ``compare_job`` returns a `Comparison`."""
        assert self.plan is not None, "the button is disabled before there is a model"
        engine, plan, best = self.engine, self.plan, RunFolder(self.plan.folder).best
        self.compare_job.start(lambda: compare_models(engine, plan, old, best))

    # ---- what the jobs say ----

    def _on_checked(self, checked: Checked) -> None:
        self.checked = checked

    def _on_written(self, image_ids: tuple[str, ...]) -> None:
        workspace = self._written
        if workspace is None or workspace is not self._state.workspace:
            return
        for image_id in image_ids:
            if workspace.is_open(image_id):
                workspace.save(image_id)
            else:
                note_labels(workspace, image_id)
            self._state.status_changed.emit(image_id)

    def _on_event(self, event: TrainEvent) -> None:
        self.history.take(event)
        step, plan = self.history.step, self.plan
        if isinstance(event, EpochDone) and self.checked is not None and step is not None and plan is not None:
            remember_speed(plan.config, self.checked.report, step.images_per_s)
        self.told.emit()

    def _on_failed(self, error: CellSegError) -> None:
        self.history.say(f"failed: {error}")
        self.told.emit()


def _scan(engine: Engine, data: Path, classes: ClassTable | None) -> Generator[ScanStep | None, None, DataReport]:
    return engine.run(Report(data, classes))


def add_to_library(folder: Path) -> Generator[None, None, ModelEntry]:
    """Copy the best model of a run into the library; runs in a job's thread."""
    yield None
    return ModelLibrary().add_run(folder)


def compare_models(
    engine: Engine, plan: Plan, old: Path, best: Path
) -> Generator[ComparisonStep | Message | None, None, Comparison]:
    """Compare a model with the best one of a run on the validation images of the run.

    Raises
    ------
    TrainingError
        The run has no validation images.
    """
    held_back = Split.load(RunFolder(plan.folder).split).validation
    if not held_back:
        raise TrainingError("This run has no validation images, so there is nothing to compare on.")
    task = Compare(data=plan.data, old=old, new=best, image_ids=held_back, device=plan.config.device)
    return (yield from engine.run(task))

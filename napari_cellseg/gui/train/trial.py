"""`Trial`: after *Train 5 min*, the new model next to the former one on the image, to be kept or dropped."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject

from napari_cellseg.class_match import match_classes
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CellSegError
from napari_cellseg.events import Message
from napari_cellseg.gui.canvas.side_picture import SidePicture
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.thresholds import first_min_scores
from napari_cellseg.gui.train.before_after import BeforeAfter, TrialStep, before_after, figures_text
from napari_cellseg.gui.train.run import Plan, TrainRun, add_to_library, compare_models
from napari_cellseg.gui.widgets.notify import show_error, show_info
from napari_cellseg.gui.widgets.workflow import front_dock, name_of, show_dock
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.library import ModelEntry
from napari_cellseg.review import ReviewSession
from napari_cellseg.wording import counted
from training.comparison import Comparison, ComparisonStep

__all__ = ["Trial"]

_Shown = Callable[[], Generator[TrialStep | None, None, BeforeAfter]]
Step = TrialStep | BeforeAfter | ComparisonStep | Message | None


class Trial(QObject):
    """Tries the model of a run that *Review* asked for; `AppState.trial` holds the words, the canvas the picture.

    Parameters
    ----------
    state : AppState
    run : TrainRun
        Its engine predicts.
    settings : callable
        Returns the options of *Segment* and its pixel size.
    """

    def __init__(
        self, state: AppState, run: TrainRun, settings: Callable[[], tuple[PredictOptions, float | None]]
    ) -> None:
        super().__init__(state)
        self._state, self._run, self._settings = state, run, settings
        self._side = SidePicture(state)
        self._plan: Plan | None = None
        self._session: ReviewSession | None = None
        self._result: BeforeAfter | None = None
        self._lines: list[str] = []
        self._keep_job = Job(state, "adding the new model to the library", on_close="Copying the model stops.")
        self._keep_job.finished.connect(self._on_kept)
        self._keep_job.failed.connect(show_error)
        run.job.changed.connect(self._on_run)
        run.trial_job.reported.connect(self._on_step)
        run.trial_job.finished.connect(self._on_figures)
        run.trial_job.failed.connect(self._on_failed)
        state.trial_decided.connect(self._on_decided)
        state.current_changed.connect(self._on_current)

    def close(self) -> None:
        """Stop trying."""
        self._run.trial_job.stop()

    # ---- trying ----

    def _on_run(self) -> None:
        run, plan = self._run, self._run.plan
        if run.job.state is JobState.STARTING:
            self._end()
        elif run.job.state in (JobState.FINISHED, JobState.STOPPED) and not self._state.is_closed:
            best = run.best
            if plan is not None and plan.is_trial and best is not None:
                self._begin(plan, best)

    def _begin(self, plan: Plan, best: Path) -> None:
        state = self._state
        old, pixel_size_um = self._settings()
        self._plan, self._session, self._result, self._lines = plan, state.session, None, []
        models = old, old.model_copy(update={"checkpoint": best})
        engine, image, image_id = self._run.engine, state.image, state.image_id
        shown: _Shown | None = None
        if image is not None and image_id is not None:
            size = pixel_size_um or image.pixel_size_um
            try:
                limits = dict(state.min_scores), _limits(best, state.classes)
            except CellSegError as error:
                self._on_failed(error)
                return
            shown = partial(before_after, engine.run, image_id, image, size, models, state.classes, limits)
        self._say("Trying the new model...")
        self._run.trial_job.start(lambda: _try(engine, plan, shown, old.checkpoint or bundled(), best))
        window = state.window
        front = None if window is None else front_dock(window)
        if front is not None and name_of(front) == "Train":  # a tab that the user chose meanwhile stays
            show_dock(state.viewer, "Review")

    def _on_step(self, step: Step) -> None:
        if isinstance(step, BeforeAfter):
            self._result = step
            self._lines = [step.text]
            if self._session is not None and self._session is self._state.session:
                width = step.picture.shape[1] // 2
                image = self._state.image
                width = width if image is None else image.size[1]
                self._side.show(step.picture, f"before and after: {step.gained} gained, {step.lost} lost", width)
            self._say("Comparing on the validation images...", is_ready=True)
        elif isinstance(step, TrialStep):
            self._say(f"Trying the new model: {step.text}")
        elif isinstance(step, ComparisonStep):
            text = f"Comparing on the validation images: {step.image}/{step.images}"
            self._say(text, is_ready=self._result is not None)

    def _on_figures(self, comparison: Comparison) -> None:
        self._lines.append(figures_text(comparison))
        self._say("", is_ready=True)

    def _on_failed(self, error: CellSegError) -> None:
        self._lines.append(f"Not compared further: {error}")
        self._say("", is_ready=True)

    def _say(self, now: str, *, is_ready: bool = False) -> None:
        head = "Keep or drop the new model?" if is_ready else ""
        text = "\n".join(line for line in (head, *self._lines, now) if line)
        self._state.set_trial(text, is_ready=is_ready)

    # ---- deciding ----

    def _on_decided(self, is_kept: bool) -> None:
        plan = self._plan
        if plan is None or self._keep_job.is_busy:
            return
        self._run.trial_job.stop()
        if is_kept:
            self._keep_job.start(lambda: add_to_library(plan.folder))
            self._state.set_trial("Copying the new model into the library...")
        else:
            self._end()
            show_info(f"The former model stays. The dropped one is kept in {plan.folder}.")

    def _on_kept(self, entry: ModelEntry) -> None:
        result, session, state = self._result, self._session, self._state
        self._end()
        try:
            state.set_model(entry.path)
            text = f'Segment now uses "{entry.name}".'
            if result is not None and session is not None and session is state.session:
                change = session.load_proposals(result.answer, entry.name)
                added = sum(before is None for before, _ in change.pairs)
                text += f" Its {counted(added, 'proposal')} replace the undecided ones; Undo takes that back."
                state.answered.emit(state.image_id, result.answer)
        except CellSegError as error:  # the file was removed, or the classes were edited
            show_error(error)
        else:
            show_info(text)

    def _on_current(self) -> None:
        """Remove the picture with its image; the model still waits for a decision."""
        if self._session is not self._state.session:
            self._side.forget_view()
            self._side.hide()
            self._session = None

    def _end(self) -> None:
        self._plan = self._session = self._result = None
        self._side.hide()
        self._state.set_trial("")


def _try(
    engine: Engine,
    plan: Plan,
    shown: _Shown | None,
    old: Path,
    best: Path,
) -> Generator[Step, None, Comparison]:
    """Predict the image with both models, then compare them on the validation images."""
    if shown is not None:
        yield (yield from shown())
    return (yield from compare_models(engine, plan, old, best))


def _limits(model: Path, classes: ClassTable) -> dict[int, float]:
    """Return the minimum scores of a model, with the class_ids of the project."""
    header = read_header(model)
    match = match_classes(header.classes, classes)
    return {match[class_id]: limit for class_id, limit in first_min_scores(header).items()}

"""`Batch`: predicts the images of a folder in the background and stores each result immediately."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_cellseg.batch import (
    BatchPlan,
    Finished,
    items_of_folder,
    make_plan,
    predict_images,
    rank_folder,
    write_submission,
)
from napari_cellseg.class_match import adoption_text, match_classes, with_class_ids
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.events import ImageDone, ImageFailed, Message, ModelReady, TileDone
from napari_cellseg.export import ExportItem, Which, items_of
from napari_cellseg.formats.ids import find_ids
from napari_cellseg.gui.batch.run import BatchModel, BatchProgress, BatchRun
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.palettes import with_preferred_colours
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.thresholds import first_min_scores
from napari_cellseg.gui.widgets.notify import show_error, show_warning
from napari_cellseg.images.listing import home_of
from napari_cellseg.images.read import ImageFile
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.workspace import Project, open_project
from napari_cellseg.workspace.editing import taken_by
from napari_cellseg.workspace.labels import highest_label_class
from napari_cellseg.workspace.predictions import ImageState, PredictionLog
from napari_cellseg.workspace.project_file import write_classes, write_every_plane
from napari_cellseg.workspace.store import ProposalStore, store_in_session

__all__ = ["Batch"]

_ON_CLOSE = "Predicting the folder stops; the images that are left are predicted at the next start."


class Batch(QObject):
    """One folder at a time.

    Attributes
    ----------
    job, plan_job, rank_job, submit_job : Job
        Prediction; scan of the folder; order of the images; writing of the results.
    plan : BatchPlan or None
        What is in the folder.
    failures : dict of image_id to str
        Images that failed and the reason, of this run and of earlier runs that were not repeated.
    warnings : list of str
        What is remarkable about the images of this run.
    """

    planned = Signal()
    """Emitted when ``plan`` is replaced; None while the folder is scanned."""
    progressed = Signal(object)
    """A `BatchProgress`."""
    stored = Signal(str)
    """The image_id whose cells were stored."""
    failures_changed = Signal()
    model_ready = Signal(object)
    warned = Signal()
    """There is another entry in ``warnings``."""
    ranked = Signal(object)
    """A list of `ImageGain`, the largest first."""

    def __init__(self, state: AppState, opener: Opener, engine: Engine) -> None:
        super().__init__(state)
        self._state = state
        self._opener, self.engine = opener, engine
        self.job = Job(state, "predicting a folder", self.engine.hold, on_close=_ON_CLOSE)
        self.plan_job = Job(state, "scanning the folder")
        self.rank_job = Job(state, "ordering images")
        self.submit_job = Job(state, "writing the results", on_close="Writing the results stops.")
        self.plan: BatchPlan | None = None
        self.failures: dict[str, str] = {}
        self.warnings: list[str] = []
        self._chosen: Path | None = None
        self._ids: Path | None = None
        self._run: BatchRun | None = None
        self._waiting: deque[ImageDone] = deque()
        self.job.reported.connect(self._on_event)
        self.plan_job.finished.connect(self._on_plan)
        self.rank_job.finished.connect(self.ranked)
        self.job.changed.connect(self._on_job)
        state.loading_changed.connect(self._store_waiting)

    # ---- the folder ----

    @property
    def folder(self) -> Path | None:
        """Return the folder to predict: the chosen one, else the open one."""
        workspace = self._state.workspace
        return self._chosen or (None if workspace is None else workspace.project.path)

    @property
    def is_open_folder(self) -> bool:
        """Return whether the folder is the one open in the viewer."""
        workspace, folder = self._state.workspace, self.folder
        return workspace is not None and folder is not None and _same(workspace.project, folder)

    @property
    def ids_file(self) -> Path | None:
        """Return the file with the image ids: the chosen one, else the one found automatically."""
        return self._ids or (None if self.folder is None else find_ids(home_of(self.folder)))

    @property
    def images_of_run(self) -> int:
        """Return the number of images of the last run."""
        return len(self._run.files) if self._run is not None else 0

    def choose_folder(self, folder: Path | None) -> None:
        """Use another folder, or (None) the open one; not during a run."""
        self._chosen, self._ids = folder, None
        self.failures, self.warnings = {}, []
        self.failures_changed.emit()
        self.warned.emit()

    def choose_ids(self, path: Path | None) -> None:
        """Use another id file, or (None) the one found automatically."""
        self._ids = path

    def separate_planes(self, every_plane: bool) -> None:
        """Make each plane of a stack an image of the folder, or each stack one image again.

        Raises
        ------
        CellSegError
            The folder cannot be written, or another viewer or window has it.
        """
        if self.is_open_folder:
            self._opener.separate_planes(every_plane)
            return
        project = self._project()
        try:
            write_every_plane(project.state_folder, every_plane)
        finally:
            project.close()

    def look(self, key: str) -> None:
        """Scan the folder; `planned` is emitted at the end. ``key`` is that of the next prediction."""
        folder, ids = self.folder, self.ids_file
        self.plan = None
        if folder is not None:
            workspace = self._state.workspace if self.is_open_folder else None
            project = None if workspace is None else workspace.project
            image_id = self._state.image_id
            now = {}
            if workspace is not None and image_id is not None and workspace.is_open(image_id):
                now[image_id] = workspace.summary(image_id)
            self.plan_job.start(lambda: make_plan(folder, key, ids, project, now))
        self.planned.emit()

    # ---- predicting ----

    def start(self, model: BatchModel, *, reviewed_too: bool = False, again: bool = False) -> None:
        """Predict the remaining images.

        Parameters
        ----------
        model : BatchModel
        reviewed_too : bool
            Also images with reviewed cells; these cells stay unchanged.
        again : bool
            Also images that were predicted before.

        Raises
        ------
        CellSegError
            The folder cannot be written, or lacks a class of the model.
        """
        assert self.plan is not None, "the button is disabled without a plan"
        files, pixels = self.files_to_do(reviewed_too=reviewed_too, again=again)
        project = self._project()
        try:
            project, match = self._with_classes(project, model.header)
        except CellSegError:
            project.close()
            raise
        scores: Mapping[int, float] = {match[i]: score for i, score in first_min_scores(model.header).items()}
        if self.is_open_folder and self._state.cells_model is None:  # else the sliders are of the cells of a slide
            self._state.set_min_scores(self._state.min_scores or scores)
            scores = self._state.min_scores
        self._chosen = self.folder  # the open folder may change during the run
        self._release()
        log, store = PredictionLog(project.folder), ProposalStore(project)
        run = self._run = BatchRun(model, match, scores, log, store, files, pixels)
        self.failures, self.warnings = {}, []
        self.failures_changed.emit()
        self.warned.emit()
        engine = self.engine
        self.job.start(
            lambda: predict_images(engine.run, files, model.options, model.pixel_size_um, partial(_store, run))
        )

    def files_to_do(self, *, reviewed_too: bool, again: bool) -> tuple[list[ImageFile], list[int]]:
        """Return the images that `start` would predict, and their sizes in px."""
        wanted = {ImageState.TO_DO}
        wanted |= {ImageState.REVIEWED, ImageState.GIVEN} if reviewed_too else set()
        wanted |= {ImageState.PREDICTED} if again else set()
        images = [image for image in (self.plan.images if self.plan else ()) if image.state in wanted]
        return [image.file for image in images], [image.pixels for image in images]

    def _with_classes(self, project: Project, header: CheckpointHeader) -> tuple[Project, dict[int, int]]:
        """Return the project's classes (the model's if it has none), and the class_ids of the model's in them."""
        state, session = self._state, self._state.session
        if self.is_open_folder:
            adopts = state.classes_are_provisional and (session is None or not session.cells)
            if adopts:
                state.set_classes(with_preferred_colours(header.classes))
            classes = state.classes
        else:
            adopts = project.classes is None
            classes = project.classes or with_preferred_colours(header.classes)
            write_classes(project.state_folder, classes)
        match = match_classes(header.classes, classes)
        if adopts and (labels := highest_label_class(project.images)):
            show_warning(adoption_text(labels, header.classes))
        return replace(project, classes=classes), match

    def _project(self) -> Project:
        """Return the project of the folder, with a share in its lock until the run ends.

        Raises
        ------
        CellSegError
            The folder cannot be opened, or another viewer or window has it.
        """
        workspace, folder = self._state.workspace, self.folder
        assert folder is not None, "there is a plan, so there is a folder"
        if workspace is not None and self.is_open_folder:
            if workspace.read_only:
                raise AnnotationError(f"{workspace.read_only} Close the folder there first.")
            return workspace.project.shared()
        project = open_project(folder)
        if reason := taken_by(project):
            project.close()
            raise AnnotationError(f"{reason} Close the folder there first.")
        return project

    def _release(self) -> None:
        if self._run is not None:
            self._run.store.project.close()

    def close(self) -> None:
        """End the engine and release the lock of the folder."""
        self.engine.shutdown()
        self._release()

    def _on_job(self) -> None:
        if not self.job.is_busy:
            self._store_waiting()
            if not self._waiting:
                self._release()

    def _on_event(self, event: Any) -> None:
        run = self._run
        if run is None:
            return
        if isinstance(event, TileDone):
            left = run.seconds_left(event, self.job.elapsed_s)
            image_id = run.files[event.image - 1].image_id
            self.progressed.emit(
                BatchProgress(
                    image=event.image,
                    images=event.images,
                    tile=event.tile,
                    tiles=event.tiles,
                    image_id=image_id,
                    seconds_left=left,
                )
            )
        elif isinstance(event, Finished):
            self._on_image(run, event)
        elif isinstance(event, ImageFailed):
            self._note_failure(run, run.files[event.image - 1], event.message)
        elif isinstance(event, ModelReady):
            run.began_s = self.job.elapsed_s
            self.model_ready.emit(event)
        elif isinstance(event, Message) and event.level == "warning":
            self.warnings.append(event.text)
            self.warned.emit()

    def _on_image(self, run: BatchRun, finished: Finished) -> None:
        if finished.is_stored:
            self._tell_stored(run.files[finished.event.image - 1].image_id)
        else:
            self._waiting.append(finished.event)
            self._store_waiting()

    def _store_waiting(self) -> None:
        """Put cells into images open in this window, but not while one is being opened: it could be the same."""
        run = self._run
        while run is not None and self._waiting and not self._state.loading:
            event = self._waiting.popleft()
            file = run.files[event.image - 1]
            try:
                self._store_in_window(run, file, event)
            except CellSegError as error:
                self._note_failure(run, file, str(error))
            else:
                self._tell_stored(file.image_id)
        if run is not None and not self.job.is_busy and not self._waiting:
            self._release()

    def _store_in_window(self, run: BatchRun, file: ImageFile, event: ImageDone) -> None:
        workspace, image_id = self._state.workspace, file.image_id
        if workspace is None or not _same(run.store.project, workspace.project.path) or not workspace.is_open(image_id):
            if not _store(run, file, event):
                raise AnnotationError(f"{image_id} is open in another window. Close it there and predict it again.")
            return
        cells = with_class_ids(event.instances, run.match)
        if store_in_session(workspace, image_id, cells, run.model.name):
            run.log.note(file, run.model.key, run.model.name, len(cells))

    def _tell_stored(self, image_id: str) -> None:
        if self.plan is not None:
            self.plan = self.plan.with_predicted(image_id)
        if self.is_open_folder:
            self._opener.summaries.note(image_id)
        self.stored.emit(image_id)

    def _note_failure(self, run: BatchRun, file: ImageFile, reason: str) -> None:
        self.failures[file.image_id] = reason
        if self.is_open_folder:
            self._opener.summaries.note_problem(file.image_id, reason)
        self.failures_changed.emit()
        try:
            run.log.note(file, run.model.key, run.model.name, problem=reason)
        except CellSegError as error:  # a full disk: all other images would fail too
            self.job.stop()
            show_error(error)

    # ---- what comes after ----

    def rank(self) -> None:
        """Order the images by the expected gain of a review; `ranked` carries the list."""
        if self.folder is not None:
            items, classes, scores = self._items(), self._known_classes(), dict(self._state.min_scores)
            self.rank_job.start(lambda: rank_folder(items, classes, scores))

    def submit(self, folder: Path) -> None:
        """Write ``test-results.json`` and its zip into a folder."""
        items, classes, ids = self._items(), self._known_classes(), self.ids_file
        self.submit_job.start(lambda: write_submission(items, classes, folder, ids))

    def _items(self) -> tuple[ExportItem, ...]:
        workspace, folder = self._state.workspace, self.folder
        if workspace is not None and self.is_open_folder:
            return items_of(workspace, Which.ALL)
        return items_of_folder(folder) if folder is not None else ()

    def _known_classes(self) -> ClassTable:
        if self.is_open_folder or self.plan is None:
            return self._state.classes
        found = next((item.read() for item in self._items()), None)
        return self._state.classes if found is None else found.classes

    def _on_plan(self, plan: BatchPlan) -> None:
        self.plan = plan
        entries = {image.file.image_id: image.entry for image in plan.images}
        if not self.job.is_busy:
            self.failures = {i: entry.problem for i, entry in entries.items() if entry is not None and entry.problem}
            self.failures_changed.emit()
        self.planned.emit()


def _store(run: BatchRun, file: ImageFile, event: ImageDone) -> bool:
    """Store the cells of an image, in the thread of the job; not if a window has the image open."""
    cells = with_class_ids(event.instances, run.match)
    is_stored = run.store.put(file.image_id, cells, run.model.name, run.min_scores)
    if is_stored:
        run.log.note(file, run.model.key, run.model.name, len(cells))
    return is_stored


def _same(project: Project, folder: Path) -> bool:
    return project.is_at(folder) or project.is_in(home_of(folder))

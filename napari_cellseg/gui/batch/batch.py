"""`Batch`: predicts the images of a folder in the background, and stores each result as soon as it is there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
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
from napari_cellseg.class_match import match_classes, with_class_ids
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
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.images.read import ImageFile
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.workspace import Workspace
from napari_cellseg.workspace.predictions import ImageState, PredictionLog, store_proposals

__all__ = ["Batch"]


class Batch(QObject):
    """One folder at a time.

    Attributes
    ----------
    job, plan_job, rank_job, submit_job : Job
        Predicting; looking into the folder; ordering the images; writing the results.
    plan : BatchPlan or None
        What is in the folder.
    failures : dict of image_id to str
        What failed, and why: of this run, and of earlier ones that were not made good.
    """

    planned = Signal()
    """``plan`` is another one, or None while it is being made."""
    progressed = Signal(object)
    """A `BatchProgress`."""
    stored = Signal(str)
    """The image_id whose cells are stored."""
    failures_changed = Signal()
    model_ready = Signal(object)
    message = Signal(str)
    ranked = Signal(object)
    """A list of `ImageGain`, the largest first."""

    def __init__(self, state: AppState, opener: Opener, engine: Engine) -> None:
        super().__init__(state)
        self._state = state
        self._opener, self._engine = opener, engine
        self.job = Job(state, "predicting a folder", self._engine.hold)
        self.plan_job = Job(state, "looking into the folder")
        self.rank_job = Job(state, "ordering images")
        self.submit_job = Job(state, "writing the results")
        self.plan: BatchPlan | None = None
        self.failures: dict[str, str] = {}
        self._chosen: Path | None = None
        self._own: Workspace | None = None
        self._ids: Path | None = None
        self._run: BatchRun | None = None
        self._waiting: deque[ImageDone] = deque()
        self._storing = threading.RLock()  # the worker stores, unless the image is open or one is being opened
        self.job.reported.connect(self._on_event)
        self.plan_job.finished.connect(self._on_plan)
        self.rank_job.finished.connect(self.ranked)
        self.job.changed.connect(self._on_job)
        state.loading_changed.connect(self._on_loading)

    # ---- the folder ----

    @property
    def folder(self) -> Path | None:
        """The folder to predict: the one chosen, else the open one."""
        workspace = self._state.workspace
        return self._chosen or (None if workspace is None else workspace.path)

    @property
    def is_open_folder(self) -> bool:
        """Whether it is the folder that is open in the viewer."""
        workspace, folder = self._state.workspace, self.folder
        return workspace is not None and folder is not None and _same(workspace.path, folder)

    @property
    def ids_file(self) -> Path | None:
        """The file with the ids of the images: the one chosen, else the one found by itself."""
        return self._ids or (None if self.folder is None else find_ids(_inside(self.folder)))

    @property
    def images_of_run(self) -> int:
        """How many images the last run had to do."""
        return len(self._run.files) if self._run is not None else 0

    def choose_folder(self, folder: Path | None) -> None:
        """Predict another folder, or (None) the one that is open; not while it runs."""
        self._chosen, self._ids = folder, None
        self.failures = {}
        self.failures_changed.emit()

    def choose_ids(self, path: Path | None) -> None:
        """Use another id file, or (None) the one found by itself."""
        self._ids = path

    def look(self, key: str) -> None:
        """Look into the folder; `planned` tells when it is done. ``key`` is that of the prediction to come."""
        folder, ids = self.folder, self.ids_file
        self.plan = None
        if folder is not None:
            workspace = self._state.workspace if self.is_open_folder else None
            images = None if workspace is None else workspace.images
            summary_of = None if workspace is None else workspace.summary
            open_image = self._state.image_id if workspace is not None else None
            self.plan_job.start(lambda: make_plan(folder, key, ids, images, summary_of, open_image))
        self.planned.emit()

    # ---- predicting ----

    def start(self, model: BatchModel, *, reviewed_too: bool = False, again: bool = False) -> None:
        """Predict the images that are to do.

        Parameters
        ----------
        model : BatchModel
        reviewed_too : bool
            Also images in which a person decided about cells; those cells stay as they are.
        again : bool
            Also images that are predicted already.

        Raises
        ------
        CellSegError
            The folder cannot be written, or lacks a class of the model.
        """
        assert self.plan is not None, "the button is disabled without a plan"
        workspace = self._workspace()
        if workspace.read_only:
            raise AnnotationError(f"The folder is open in another viewer: {workspace.owner}. Close it there first.")
        files, pixels = self.files_to_do(reviewed_too=reviewed_too, again=again)
        match = match_classes(model.header.classes, self._classes(model.header, workspace))
        scores: Mapping[int, float] = {match[i]: score for i, score in first_min_scores(model.header).items()}
        if self.is_open_folder:
            self._state.set_min_scores(self._state.min_scores or scores)
            scores = self._state.min_scores
        self._chosen = self.folder  # the one that is open may change while it runs
        self._run = BatchRun(model, match, scores, PredictionLog(workspace.folder), files, pixels)
        self.failures = {}
        self.failures_changed.emit()
        engine, run = self._engine, self._run
        store = partial(self._store_in_worker, run)
        self.job.start(lambda: predict_images(engine.run, files, model.options, model.pixel_size_um, store))

    def files_to_do(self, *, reviewed_too: bool, again: bool) -> tuple[list[ImageFile], list[int]]:
        """Return the images that `start` would predict, and their sizes in px."""
        wanted = {ImageState.TO_DO}
        wanted |= {ImageState.REVIEWED} if reviewed_too else set()
        wanted |= {ImageState.PREDICTED} if again else set()
        images = [image for image in (self.plan.images if self.plan else ()) if image.state in wanted]
        return [image.file for image in images], [image.pixels for image in images]

    def _classes(self, header: CheckpointHeader, workspace: Workspace) -> ClassTable:
        """Return the classes of the project; one that has none takes over those of the model."""
        state = self._state
        if self.is_open_folder:
            session = state.session
            if state.classes_are_provisional and (session is None or not session.cells):
                state.set_classes(with_preferred_colours(header.classes))
            return state.classes
        classes = workspace.classes or with_preferred_colours(header.classes)
        workspace.classes = classes
        return classes

    def _workspace(self) -> Workspace:
        """Return the project of the folder: the open one, or one of our own, which holds the folder's lock."""
        workspace, folder = self._state.workspace, self.folder
        assert folder is not None, "there is a plan, so there is a folder"
        if workspace is not None and self.is_open_folder:
            self._release()
            return workspace
        if self._own is None or self._own.path != folder:
            self._release()
            self._own = Workspace(folder)
        return self._own

    def _release(self) -> None:
        with self._storing:
            if self._own is not None:
                self._own.close()
                self._own = None

    def close(self) -> None:
        """End the engine, and give back the lock of a folder that is not open in the viewer."""
        self._engine.shutdown()
        self._release()

    def _on_loading(self) -> None:
        if self._state.loading:
            self._release()  # it may be this folder that is being opened; the lock is taken again when needed
        else:
            self._store_waiting()

    def _on_job(self) -> None:
        if not self.job.is_busy:
            self._store_waiting()
            self._release()

    def _on_event(self, event: Any) -> None:
        run = self._run
        if run is None:
            return
        if isinstance(event, TileDone):
            left = run.seconds_left(event, self.job.elapsed_s)
            image_id = run.files[event.image - 1].image_id
            self.progressed.emit(BatchProgress(event.image, event.images, event.tile, event.tiles, image_id, left))
        elif isinstance(event, Finished):
            self._on_image(run, event)
        elif isinstance(event, ImageFailed):
            self._note_failure(run, run.files[event.image - 1], event.message)
        elif isinstance(event, ModelReady):
            run.began_s = self.job.elapsed_s
            self.model_ready.emit(event)
        elif isinstance(event, Message):
            self.message.emit(event.text)

    def _on_image(self, run: BatchRun, finished: Finished) -> None:
        image_id = run.files[finished.event.image - 1].image_id
        is_open = self.is_open_folder and self._state.workspace is not None and self._state.workspace.is_open(image_id)
        # Also when it was opened while it was being stored: what was read may be the file of before.
        if self._state.loading or is_open or not finished.is_stored:
            self._waiting.append(finished.event)
            self._store_waiting()
        else:
            self._tell_stored(image_id)

    def _store_in_worker(self, run: BatchRun, file: ImageFile, event: ImageDone) -> bool:
        """Store what is done, if the image is not open; in the thread of the job."""
        with self._storing:
            if self._state.loading or self._workspace().is_open(file.image_id):
                return False
            self._store(run, file, event)
            return True

    def _store_waiting(self) -> None:
        """Store what is done; not while an image is being opened, which could be the same one."""
        run = self._run
        while run is not None and self._waiting and not self._state.loading:
            event = self._waiting.popleft()
            file = run.files[event.image - 1]
            try:
                with self._storing:
                    self._store(run, file, event)
            except CellSegError as error:
                self._note_failure(run, file, str(error))
            else:
                self._tell_stored(file.image_id)

    def _store(self, run: BatchRun, file: ImageFile, event: ImageDone) -> None:
        cells = with_class_ids(event.instances, run.match)
        if store_proposals(self._workspace(), file.image_id, cells, run.model.name, run.min_scores):
            run.log.note(file, run.model.key, run.model.name, len(cells))

    def _tell_stored(self, image_id: str) -> None:
        if self.is_open_folder:
            self._opener.note(image_id)
        self.stored.emit(image_id)

    def _note_failure(self, run: BatchRun, file: ImageFile, reason: str) -> None:
        self.failures[file.image_id] = reason
        self.failures_changed.emit()
        try:
            run.log.note(file, run.model.key, run.model.name, problem=reason)
        except CellSegError as error:  # a full disk: every other image would fail as well
            self.job.stop()
            show_error(error)

    # ---- what comes after ----

    def rank(self) -> None:
        """Order the images by what reviewing them is expected to give; `ranked` has the list."""
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


def _inside(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _same(first: Path, second: Path) -> bool:
    return first == second or _inside(first).resolve() == _inside(second).resolve()

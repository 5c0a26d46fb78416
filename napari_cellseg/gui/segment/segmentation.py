"""`Segmentation`: runs the model on the current image and puts the cells into its review session."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.class_match import adoption_text, match_classes, with_class_ids
from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.errors import CellSegError, EngineError
from napari_cellseg.events import (
    CellsSoFar,
    ImageDone,
    ImageFailed,
    Message,
    ModelReady,
    PredictEvent,
    PredictSummary,
    ScaleHint,
    SlideDone,
    SlideTileDone,
    TileDone,
)
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.palettes import with_preferred_colours
from napari_cellseg.gui.preferences import preferences
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error, show_info, show_warning
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import Image, ImageFile
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem, SlideTask
from napari_cellseg.model.suitability import check_pixel_size
from napari_cellseg.review import ArrivingCells, Box, Change, ChangeKind, ReviewSession
from napari_cellseg.review.arriving import touches
from napari_cellseg.workspace.labels import highest_label_class
from napari_cellseg.workspace.open_any import LoadedSlide
from napari_cellseg.workspace.predictions import PredictionLog, prediction_key

__all__ = ["Segmentation"]

_STROKE_MS = 50
"""Between two looks whether a stroke has ended."""


@dataclass(frozen=True)
class _Target:
    """The target of a prediction; another image may be open when its cells arrive."""

    image_id: str
    session: ReviewSession
    model_classes: ClassTable
    model_name: str
    log: PredictionLog | None
    file: ImageFile
    key: str
    arriving: ArrivingCells

    def show(self, cells: InstanceMasks, project: ClassTable, waiting: Sequence[Box] = ()) -> InstanceMasks:
        """Show cells; return them with the class_ids of the project."""
        known = with_class_ids(cells, match_classes(self.model_classes, project))
        self.arriving.show(known, waiting)
        return known


class Segmentation(QObject):
    """One prediction at a time, of the image on the canvas.

    A change of image stops it, except that of a slide, whose cells go to a file whatever is on the canvas.

    Parameters
    ----------
    state : AppState
    layers : ClassLayers
        Cells wait while a stroke on one of them is being drawn.
    engine : Engine
        Where the model runs.
    """

    progressed = Signal(object)
    """A `TileDone`."""
    model_ready = Signal(object)
    """The `ModelReady`, with the device and why."""
    message = Signal(str)
    scale_offered = Signal(object)
    """A `ScaleHint`."""
    slide_grew = Signal(object)
    """The file of the cells of the slide on the canvas has those of more tiles."""
    first_shown = Signal()
    """Some cells of the run are shown, and the run continues."""
    done = Signal(int, float)
    """Number of cells shown, and the seconds since *Segment*, with the start of the engine."""

    def __init__(self, state: AppState, layers: ClassLayers, engine: Engine) -> None:
        super().__init__(state)
        self._state, self._layers = state, layers
        self.engine = engine
        self._target: _Target | None = None
        self._unfollow: Callable[[], None] = _nothing
        self._to_show: Callable[[], None] = _nothing
        self._stroke_timer = QTimer(self)
        self._stroke_timer.setSingleShot(True)
        self._stroke_timer.timeout.connect(self._show_after_stroke)
        self._slide: LoadedSlide | None = None
        self.slide_waits = 0
        """Tiles of the slide that the last finished run left for another, because they are not of its region."""
        self.slide_so_far: TileDone | None = None
        """The last finished tile of a run on a slide; None after it finished."""
        self.so_far: CellsSoFar | None = None
        """The last report of the run; once the run ended early, all its cells are shown."""
        self.job = Job(state, "segmenting cells", on_close="Segmenting stops.")
        self.job.reported.connect(self._on_event)
        self.job.changed.connect(self._on_job)
        self._warm_up = Job(state, "starting the engine")
        self._used: tuple[PredictOptions, float | None] | None = None
        state.current_changed.connect(self._on_current)

    def close(self) -> None:
        """End the engine."""
        self._stroke_timer.stop()
        self.engine.shutdown()

    def warm_up(self) -> None:
        """Start the engine in the background before it is needed."""
        if not self.job.is_busy and not self._warm_up.is_busy:
            self._warm_up.start(self.engine.warm_up)

    @property
    def settings(self) -> tuple[PredictOptions, float | None]:
        """The options and the pixel size of the last run; the defaults if another model was chosen since."""
        if self._used is not None and self._used[0].checkpoint == self._state.model:
            return self._used
        return PredictOptions(checkpoint=self._state.model, device=preferences().device), None

    def start(
        self,
        options: PredictOptions,
        classes: ClassTable,
        name: str,
        pixel_size_um: float | None,
        config: ModelConfig | None = None,
        sha256: str = "",
    ) -> None:
        """Predict the current image, the tiles nearest to the middle of the view first.

        Parameters
        ----------
        options : PredictOptions
        classes : ClassTable
            Of the model.
        name : str
            Of the model, recorded as the author of the cells.
        pixel_size_um : float or None
            Used instead of the image's own pixel size.
        config : ModelConfig, optional
            Of the model: how its training images were read, and their pixel size.
        sha256 : str
            Of the model's weights, for the log of predictions that *Batch* reads.

        Raises
        ------
        ConfigError
            The project lacks a class of the model, or the pixel size would have no effect.
        """
        image, session, file = self._state.image, self._state.session, self._state.file
        assert image is not None, "the button is disabled without an image"
        assert session is not None, "the button is disabled without an image"
        assert file is not None, "the button is disabled without an image"
        if pixel_size_um is not None and config is not None:
            check_pixel_size(pixel_size_um, options.scale, config.pixel_size_um, name)
        if config is not None:
            image = image.with_options(image.options.over(config.reading))  # what was chosen in Open takes precedence
        self._adopt(classes, session)
        match_classes(classes, self._state.classes)
        self._used = options, pixel_size_um
        workspace = self._state.workspace
        log = None if workspace is None or workspace.read_only else PredictionLog(workspace.project.folder)
        key = prediction_key(sha256, options.model_dump(mode="json"), pixel_size_um)
        self._target = _Target(file.image_id, session, classes, name, log, file, key, ArrivingCells(session, name))
        self._unfollow()
        self._unfollow = session.subscribe(self._on_change)
        self.so_far = self.slide_so_far = self._slide = None
        engine, size = self.engine, pixel_size_um or image.pixel_size_um
        y, x = camera_of(self._state.viewer).center[-2:]
        self.job.start(lambda: _predict(engine, file.image_id, image, size, options, (float(y), float(x))))

    def start_slide(
        self,
        options: PredictOptions,
        classes: ClassTable,
        name: str,
        pixel_size_um: float | None,
        config: ModelConfig,
    ) -> None:
        """Predict the slide on the canvas tile by tile, those nearest to the middle of the view first.

        With a region on the slide, only the tiles of the region. The cells go to a file; an interrupted run with the
        same settings continues. Parameters and errors as `start`.
        """
        slide = self._state.slide
        assert slide is not None, "the button is disabled without an image"
        if pixel_size_um is not None:
            check_pixel_size(pixel_size_um, options.scale, config.pixel_size_um, name)
        if self._state.classes_are_provisional and not self._state.slide_has_cells:
            self._state.set_classes(with_preferred_colours(classes))
        match_classes(classes, self._state.classes)
        self._used = options, pixel_size_um
        self._target, self._slide, self.so_far, self.slide_so_far = None, slide, None, None
        y, x = (float(value) for value in camera_of(self._state.viewer).center[-2:])
        # The view is in px of the level that is read, the task in those of the finest level of the file.
        factor = slide.levels.full_factor
        # Pixel centres of the canvas are at whole numbers, those of a task at halves.
        part = tuple(((x + 0.5) * factor, (y + 0.5) * factor) for y, x in self._state.slide_region)
        task = SlideTask(slide.store, first=(x * factor, y * factor), part=part)
        reading = slide.file.reading or ReadOptions()
        reading = reading.changed(level=reading.level or 0)
        item = PredictItem(slide.file.image_id, slide.file.path, pixel_size_um, reading=reading, slide=task)
        engine = self.engine
        self.job.start(lambda: _run(engine, item, options))

    def _adopt(self, classes: ClassTable, session: ReviewSession) -> None:
        """Use the model's class names for a project without classes."""
        state = self._state
        if state.classes_are_provisional and (len(classes) == len(state.classes) or not session.cells):
            if labels := highest_label_class(state.images):
                show_warning(adoption_text(labels, classes))
            state.set_classes(with_preferred_colours(classes))

    def _on_event(self, event: PredictEvent) -> None:
        if isinstance(event, TileDone):
            if isinstance(event, CellsSoFar):
                self._show_so_far(event)
            if isinstance(event, SlideTileDone):
                self.slide_so_far = event
                self._grow()
            self.progressed.emit(event)
        elif isinstance(event, ModelReady):
            self.model_ready.emit(event)
        elif isinstance(event, ScaleHint):
            self.scale_offered.emit(event)
        elif isinstance(event, Message):
            # A warning must stay longer than the result line of the dock.
            show_warning(event.text) if event.level == "warning" else self.message.emit(event.text)
        elif isinstance(event, SlideDone):
            self.slide_so_far, self.slide_waits = None, event.waiting
            if self._grow():
                self.done.emit(event.cells, self.job.elapsed_s)
            else:
                show_info(f"{event.image_id} is segmented: {event.cells:,} cells. Open it to review them.")
        elif isinstance(event, ImageDone):
            self.so_far = None  # the run did not end early
            self._after_stroke(partial(self._use, event))

    def _grow(self) -> bool:
        """Show what a run added to the file of the cells, if its slide is on the canvas; return whether it is."""
        slide = self._slide
        if slide is None or self.elsewhere:
            return False
        self.slide_grew.emit(slide.store)
        return True

    @property
    def elsewhere(self) -> str:
        """The image_id of the slide of the last run while another image is on the canvas; else empty."""
        slide, here = self._slide, self._state.slide
        return "" if slide is None or (here is not None and here.store == slide.store) else slide.file.image_id

    def _current(self) -> _Target | None:
        """Return the target while its image is on the canvas and the user has not taken its cells back."""
        target = self._target
        is_here = target is not None and target.session is self._state.session and not target.arriving.is_undone
        return target if is_here else None

    def _show_so_far(self, event: CellsSoFar) -> None:
        """Show the cells that reach into no tile that is still to come: they do not change any more."""
        target = self._current()
        if target is None or self._is_drawing():  # the next report has these cells too
            return
        is_first, self.so_far = self.so_far is None, event
        settled = event.instances.select(~touches(event.instances.boxes, event.waiting))
        try:
            target.show(settled, self._state.classes, event.waiting)
        except CellSegError as error:  # the classes were edited during the run
            show_error(error)
            self.job.stop()
        else:
            if is_first and target.session.count():
                self.first_shown.emit()

    def _use(self, event: ImageDone) -> None:
        target = self._current()
        if target is None:
            return
        try:
            cells = target.show(event.instances, self._state.classes)
            if target.log is not None:
                target.log.note(target.file, target.key, target.model_name, len(cells), is_saved=False)
            self._state.answered.emit(target.image_id, cells)
        except CellSegError as error:  # the classes were edited during the run
            show_error(error)
        else:
            self.done.emit(target.session.count(), self.job.elapsed_s)

    def _on_job(self) -> None:
        """After a run that ended early, show the cells at the edge of its finished tiles too."""
        if self.job.is_busy:
            return
        self._unfollow()
        self._unfollow = _nothing
        target = self._current()
        if target is None:
            self.so_far = None
        elif self.so_far is not None:
            self._after_stroke(partial(self._show_all_so_far, self.so_far))

    def _show_all_so_far(self, last: CellsSoFar) -> None:
        target = self._current()
        if target is not None:
            with suppress(CellSegError):  # the classes were edited, and the user was told
                target.show(last.instances, self._state.classes, last.waiting)

    def _is_drawing(self) -> bool:
        """Return whether a stroke is being drawn: it may hold the id that the next cell of the model would get."""
        return any(layer.is_in_stroke for layer in self._layers)

    def _after_stroke(self, show: Callable[[], None]) -> None:
        self._to_show = show
        self._show_after_stroke()

    def _show_after_stroke(self) -> None:
        if self._is_drawing():
            self._stroke_timer.start(_STROKE_MS)
        else:
            show, self._to_show = self._to_show, _nothing
            show()

    def _on_change(self, change: Change) -> None:
        """Stop the run when the user takes its cells back: they would come again with the next tile."""
        if change.kind is ChangeKind.UNDO and self._target is not None and self._target.arriving.is_undone:
            self.job.stop()

    def _on_current(self) -> None:
        if self._target is not None and self._target.session is not self._state.session:
            self._target = None
            self.job.stop()
        if self.elsewhere and not self.job.is_busy:
            self._slide = self.slide_so_far = None
        elif self.elsewhere:
            show_info(f"Segmenting {self.elsewhere} continues. Stop in Segment ends it and keeps the cells so far.")


def _nothing() -> None:
    """Follow nothing."""


def _predict(
    engine: Engine,
    image_id: str,
    image: Image,
    pixel_size_um: float | None,
    options: PredictOptions,
    centre: tuple[float, float],
) -> Generator[PredictEvent | None, None, PredictSummary]:
    """Predict one image; in the job's thread, so that converting 16-bit data to RGB does not block the window."""
    item = PredictItem(image_id, image.rgb(), pixel_size_um, centre=centre)
    return (yield from _run(engine, item, options))


def _run(
    engine: Engine, item: PredictItem, options: PredictOptions
) -> Generator[PredictEvent | None, None, PredictSummary]:
    run = engine.run(Predict([item], options))
    try:
        while True:
            try:
                event = next(run)
            except StopIteration as end:
                summary: PredictSummary = end.value
                return summary
            if isinstance(event, ImageFailed):
                raise _failure(event)
            yield event
    finally:
        run.close()


def _failure(event: ImageFailed) -> CellSegError:
    return EngineError(f"{event.image_id} could not be segmented: {event.message}")

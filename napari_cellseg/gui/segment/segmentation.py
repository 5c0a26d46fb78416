"""`Segmentation`: runs the model on the current image and puts the cells into its review session."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from qtpy.QtCore import QObject, Signal

from napari_cellseg.class_match import match_classes, with_class_ids
from napari_cellseg.classes import ClassTable
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.errors import CellSegError, EngineError
from napari_cellseg.events import (
    ImageDone,
    ImageFailed,
    Message,
    ModelReady,
    PredictEvent,
    PredictSummary,
    ScaleHint,
    TileDone,
)
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.palettes import with_preferred_colours
from napari_cellseg.gui.preferences import preferences
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error, show_warning
from napari_cellseg.images.read import Image, ImageFile
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.suitability import check_pixel_size
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace.predictions import PredictionLog, prediction_key

__all__ = ["Segmentation"]


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


class Segmentation(QObject):
    """One prediction at a time, of the image on the canvas; a change of image stops it.

    Parameters
    ----------
    state : AppState
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
    done = Signal(int, float)
    """Number of cells shown, and the seconds since *Segment*, with the start of the engine."""

    def __init__(self, state: AppState, engine: Engine) -> None:
        super().__init__(state)
        self._state = state
        self.engine = engine
        self._target: _Target | None = None
        self.job = Job(state, "segmenting cells", on_close="Segmenting stops.")
        self.job.reported.connect(self._on_event)
        self._warm_up = Job(state, "starting the engine")
        self._used: tuple[PredictOptions, float | None] | None = None
        state.current_changed.connect(self._on_current)

    def close(self) -> None:
        """End the engine."""
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
        """Predict the current image.

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
        self._target = _Target(file.image_id, session, classes, name, log, file, key)
        engine, size = self.engine, pixel_size_um or image.pixel_size_um
        self.job.start(lambda: _predict(engine, file.image_id, image, size, options))

    def _adopt(self, classes: ClassTable, session: ReviewSession) -> None:
        """Use the model's class names for a project without classes."""
        state = self._state
        if state.classes_are_provisional and (len(classes) == len(state.classes) or not session.cells):
            state.set_classes(with_preferred_colours(classes))

    def _on_event(self, event: PredictEvent) -> None:
        if isinstance(event, TileDone):
            self.progressed.emit(event)
        elif isinstance(event, ModelReady):
            self.model_ready.emit(event)
        elif isinstance(event, ScaleHint):
            self.scale_offered.emit(event)
        elif isinstance(event, Message):
            # A warning must stay longer than the result line of the dock.
            show_warning(event.text) if event.level == "warning" else self.message.emit(event.text)
        elif isinstance(event, ImageDone):
            self._use(event)

    def _use(self, event: ImageDone) -> None:
        target = self._target
        if target is None or target.session is not self._state.session:
            return
        try:
            cells = with_class_ids(event.instances, match_classes(target.model_classes, self._state.classes))
            target.session.load_proposals(cells, target.model_name)
            if target.log is not None:
                target.log.note(target.file, target.key, target.model_name, len(cells), is_saved=False)
            self._state.answered.emit(target.image_id, cells)
        except CellSegError as error:  # the classes were edited during the run
            show_error(error)
        else:
            self.done.emit(target.session.count(), self.job.elapsed_s)

    def _on_current(self) -> None:
        if self._target is not None and self._target.session is not self._state.session:
            self._target = None
            self.job.stop()


def _predict(
    engine: Engine, image_id: str, image: Image, pixel_size_um: float | None, options: PredictOptions
) -> Generator[PredictEvent | None, None, PredictSummary]:
    """Predict one image; in the job's thread, so that converting 16-bit data to RGB does not block the window."""
    item = PredictItem(image_id, image.rgb(), pixel_size_um)
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

"""The dock *Segment*: one button that segments the image, and sliders that filter the cells."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QHBoxLayout, QLabel, QPushButton

from napari_cellseg.class_match import lacking_classes
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CellSegError
from napari_cellseg.events import ModelReady, ScaleHint, TileDone
from napari_cellseg.gui.canvas.foreign_layer import shows_other_plane
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.preferences import preferences
from napari_cellseg.gui.segment.nucleus_scale import NucleusScale
from napari_cellseg.gui.segment.segmentation import Segmentation
from napari_cellseg.gui.slides.words import ONLY_IN_MEMORY, segment_words, slide_done_text
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import ERROR, Dock, PrimaryButton, Section, explain, form_layout, small_label
from napari_cellseg.gui.widgets.job_row import JobRow, clock
from napari_cellseg.gui.widgets.lifetime import listen_while_alive
from napari_cellseg.gui.widgets.model_picker import ModelPicker
from napari_cellseg.gui.widgets.notify import show_choice, show_info
from napari_cellseg.gui.widgets.predict_fields import (
    PixelSize,
    advanced_form,
    device_choice,
    device_names,
    prediction_options,
)
from napari_cellseg.gui.widgets.score_sliders import ScoreSliders
from napari_cellseg.gui.widgets.workflow import front_dock, is_in_front, show_dock
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.suitability import PickedModel, pick_model
from napari_cellseg.review import Status
from napari_cellseg.wording import counted

__all__ = ["SegmentDock", "device_names"]


class SegmentDock(Dock):
    """Model, device, options, minimum scores, and the button."""

    def __init__(self, state: AppState, layers: ClassLayers, opener: Opener, segmentation: Segmentation) -> None:
        super().__init__(state)
        self.layers, self.opener, self.segmentation = layers, opener, segmentation
        self.model = ModelPicker()
        self.model_reason = small_label()
        self.model_reason.hide()
        self._picked: PickedModel | None = None
        self.device = device_choice()
        self.device_reason = small_label()
        self.device_reason.hide()
        self.pixel_size = PixelSize()
        self.nucleus = NucleusScale(state)
        self.advanced = advanced_form()
        self.sliders = ScoreSliders(self.state)
        self.button = PrimaryButton("Segment image")
        self.button.clicked.connect(self._segment)
        self.row = JobRow(self.segmentation.job, "Starting engine...")
        self._front: QDockWidget | None = None  # whose tab was in front at the start of the run
        self._fill()
        self._connect()
        self._on_model()
        self._show()

    def _fill(self) -> None:
        form = form_layout()
        form.addRow("Model", self.model)
        form.addRow(self.model_reason)
        form.addRow("Device", self.device)
        form.addRow(self.device_reason)
        form.addRow("Pixel size", self.pixel_size)
        form.addRow(self.nucleus)
        self.column.addLayout(form)
        self.column.addWidget(Section("Advanced", self.advanced))
        self.column.addWidget(QLabel("<b>Minimum score</b>"))
        self.column.addWidget(self.sliders)
        self.column.addWidget(self.button)
        self.column.addWidget(self.row)
        more = QHBoxLayout()
        for text, name, tip in (
            ("Whole folder...", "Batch", "Predict all images of a folder and write the submission"),
            ("Models...", "Models", "Show all models with their metrics; import, rename, delete"),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, name=name: show_dock(self.state.viewer, name))
            more.addWidget(button)
        self.column.addLayout(more)
        self.column.addStretch(1)

    def _connect(self) -> None:
        # Methods, not lambdas, for objects that outlive the dock: Qt disconnects them when the dock is closed.
        state, segmentation = self.state, self.segmentation
        self.model.chosen.connect(state.set_model)
        self.nucleus.wanted.connect(self._show_circle)
        self.nucleus.chosen.connect(self._use_scale)
        self.pixel_size.valueChanged.connect(self._follow_scale)
        self.advanced.changed.connect(self._follow_scale)
        state.model_changed.connect(self._on_model)
        state.models_changed.connect(self._on_models)
        state.segment_requested.connect(self._on_request)
        state.current_changed.connect(self._pick_model)
        state.current_changed.connect(self._show)
        state.current_changed.connect(self._warm_up)
        state.loading_changed.connect(self._show)
        state.slide_region_changed.connect(self._show)
        listen_while_alive(self, state.viewer.layers.events.inserted, self._show)
        listen_while_alive(self, state.viewer.layers.events.removed, self._show)
        segmentation.job.changed.connect(self._show)
        segmentation.job.changed.connect(self._show_partial)  # after the row, which says that the run stopped
        segmentation.job.failed.connect(self._show_partial)
        segmentation.first_shown.connect(self._bring_review)
        segmentation.progressed.connect(self._on_tile)
        segmentation.model_ready.connect(self._on_ready)
        segmentation.message.connect(self._on_message)
        segmentation.scale_offered.connect(self._on_scale)
        segmentation.done.connect(self._on_done)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(100)
        self._soon.timeout.connect(self.sliders.show_counts)
        self.layers.session_changed.connect(self._on_change)

    def showEvent(self, event: Any) -> None:  # noqa: D102
        super().showEvent(event)
        self._warm_up()

    def hideEvent(self, event: Any) -> None:  # noqa: D102
        super().hideEvent(event)
        self.nucleus.hide_circle()

    def _warm_up(self) -> None:
        """Start the engine if it will probably be needed soon."""
        is_open = self.state.session is not None or self.state.slide is not None
        if self.isVisible() and is_open and preferences().warm_start:
            self.segmentation.warm_up()

    def options(self) -> PredictOptions:
        """Return the settings in the fields.

        Raises
        ------
        ConfigError
            The settings contradict each other.
        """
        return prediction_options(self.model.path, self.device, self.advanced)

    def _segment(self) -> None:
        if self.state.slide is not None:
            self._segment_slide()
            return
        layer = self._image_layer()
        if layer is not None and (self.state.session is None or shows_other_plane(layer, self.state)):
            self.opener.show_pixels(layer)
            if shows_other_plane(layer, self.state):  # refused, and said why
                return
        header = self.model.header
        if header is None or self.state.session is None:
            return
        name = header.name or self.model.currentText()
        self.nucleus.hide_circle()
        self._front = None if self.state.window is None else front_dock(self.state.window)
        try:
            self.segmentation.start(
                self.options(), header.classes, name, self.pixel_size.chosen_um, header.config, header.sha256
            )
        except CellSegError as error:
            self.row.set_message(str(error), ERROR)
            if lacking := lacking_classes(header.classes, self.state.classes):
                show_choice(str(error), f"Add {', '.join(lacking)}", lambda: self._add_classes(header.classes), self)

    def _segment_slide(self) -> None:
        header = self.model.header
        if header is None:
            return
        name = header.name or self.model.currentText()
        self._front = None if self.state.window is None else front_dock(self.state.window)
        try:
            self.segmentation.start_slide(
                self.options(), header.classes, name, self.pixel_size.chosen_um, header.config
            )
        except CellSegError as error:
            self.row.set_message(str(error), ERROR)

    def _add_classes(self, wanted: ClassTable) -> None:
        """Add the classes of a model that the project lacks, and segment."""
        names, colours = list(self.state.classes.names), list(self.state.classes.colours)
        for name in lacking_classes(wanted, self.state.classes):
            names.append(name)
            colours.append(wanted.colours[wanted.class_id(name) - 1])
        self.state.set_classes(ClassTable(tuple(names), tuple(colours)))
        if self._why_not() is None:
            self._segment()

    def _on_request(self) -> None:
        if self._why_not() is None:
            self._segment()

    def _on_model(self) -> None:
        state = self.state
        if state.model is None:  # at the start
            state.set_model(self.model.path, proposed=not self.model.is_remembered)
        elif state.model != self.model.path or not (state.model_is_proposed or self.model.is_remembered):
            self.model.choose(state.model, proposed=state.model_is_proposed)
        header = self.model.header
        if header is not None:
            session = self.state.session
            has_cells = self.state.slide_has_cells if session is None else bool(session.cells)
            if self.state.classes_are_provisional and not has_cells:
                self.state.set_classes(header.classes, provisional=True)
            self.sliders.use_model(header)
        self._show()

    def _pick_model(self) -> None:
        """Propose the bundled model that suits the image, if the user chose none and the project has its classes."""
        state = self.state
        image = state.image if state.slide is None else state.slide.levels.overview
        if not state.model_is_proposed or image is None:
            return
        try:
            picked = pick_model(image.facts)
            classes = read_header(picked.path).classes
        except CellSegError:  # no such model; Segment says why it cannot run
            return
        has_cells = state.slide_has_cells if state.session is None else bool(state.session.cells)
        if (state.classes_are_provisional and not has_cells) or not lacking_classes(classes, state.classes):
            self._picked = picked
            state.set_model(picked.path, proposed=True)

    def _show_reason(self) -> None:
        """Say why the model was picked, until the user chooses one."""
        picked, state = self._picked, self.state
        is_shown = picked is not None and state.model_is_proposed and picked.path == state.model
        reason = picked.reason if picked is not None and is_shown else ""
        self.model_reason.setText(f"{self.model.currentText()} was picked for this image: {reason}." if reason else "")
        self.model_reason.setVisible(bool(reason))

    def _on_models(self) -> None:
        self.model.refresh()  # the chosen layer may be gone
        kept = self.model.path == self.state.model
        self.state.set_model(
            self.model.path, proposed=self.state.model_is_proposed if kept else not self.model.is_remembered
        )

    def _show(self) -> None:
        slide, image = self.state.slide, self.state.image
        text, tip = segment_words(on_slide=slide is not None, has_region=bool(self.state.slide_region))
        self.button.setText(text)
        explain(self.button, self._why_not(), tip)
        image = image if slide is None else slide.levels.overview
        known = "unknown" if image is None or image.pixel_size_um is None else f"{image.pixel_size_um:.3g} µm"
        self.pixel_size.setSpecialValueText(f"auto: {known}")
        self.nucleus.refresh(self._why_no_circle())
        self._follow_scale()
        self._show_reason()

    # ---- the scale, by a circle on the image ----

    def _show_circle(self) -> None:
        """Show the circle of a typical nucleus, of an image layer after that was made the current image."""
        layer, header = self._image_layer(), self.model.header
        if self.state.session is None and self.state.slide is None and layer is not None:
            self.opener.show_pixels(layer)
        if header is not None and self.state.image is not None:
            size = self.pixel_size.chosen_um or self.state.image.pixel_size_um
            self.nucleus.show_circle(header, size, self.advanced.values().get("scale"))
        else:
            self.nucleus.hide_circle()

    def _follow_scale(self) -> None:
        """Resize the circle that is shown after a field of the scale was changed."""
        if self.nucleus.circle is not None:
            self._show_circle()

    def _use_scale(self, scale: float) -> None:
        """Take the scale of the circle; a pixel size would say another one."""
        self.pixel_size.setValue(0)
        self.advanced.set_values({"scale": scale})

    def _why_no_circle(self) -> str | None:
        if self.state.slide is not None:
            return ONLY_IN_MEMORY
        header = self.model.header
        if header is not None and (header.statistics is None or header.statistics.cell_side_px is None):
            return "The model does not state how large the cells of its training images are."
        return self._why_not()

    def _why_not(self) -> str | None:
        if self.segmentation.job.is_busy:
            of_slide = f" of {elsewhere}" if (elsewhere := self.segmentation.elsewhere) else ""
            return f"Segmentation{of_slide} is running. Stop it first."
        if self.state.loading:
            return "Wait until the image is open."
        workspace = self.state.workspace
        if self.state.slide is not None:
            no_model = "Choose a model first." if self.model.header is None else None
            return (workspace.read_only if workspace is not None else "") or no_model
        if self.state.session is None and self._image_layer() is None:
            return "Open an image first."
        if self.state.session is not None and self.state.session.refusal:
            return self.state.session.refusal
        if self.model.header is None:
            return "Choose a model first."
        return None

    def _image_layer(self) -> Any:
        """Return the layer that napari or another plugin opened: the active one, else the topmost."""
        images = [layer for layer in self.state.viewer.layers if layer._type_string == "image"]
        active = self.state.viewer.layers.selection.active
        return active if active in images else images[-1] if images else None

    def _on_change(self, _: object) -> None:
        self._soon.start()

    def _on_message(self, text: str) -> None:
        self.row.set_message(text)

    def _on_scale(self, hint: ScaleHint) -> None:
        """Offer the scale that fits the size of the predicted cells."""

        def use() -> None:
            self.advanced.set_values({"scale": hint.scale})
            if self._why_not() is None:
                self._segment()

        show_choice(hint.text, f"Segment at scale {hint.scale:g}", use, self)

    def _on_tile(self, event: TileDone) -> None:
        of_slide = f"{elsewhere}: " if (elsewhere := self.segmentation.elsewhere) else ""
        self.row.set_progress(event.tile, event.tiles, f"{of_slide}tile {event.tile}/{event.tiles}")

    def _on_ready(self, event: ModelReady) -> None:
        self.device_reason.setText(event.reason)
        self.device_reason.show()
        self.row.set_progress(0, 0, "Segmenting")

    def _on_done(self, cells: int, seconds: float) -> None:
        if self.state.slide is not None:
            self.row.set_message(slide_done_text(cells, clock(seconds), self.segmentation.slide_waits))
            self._bring_review()
            return
        image, layer = self.state.image, self._image_layer()
        part = "" if image is None else image.shown
        if self.state.workspace is None and layer is not None and layer.ndim > 2:
            part = self.state.image_id or ""
        text, is_as_before = self._result(cells, clock(seconds))
        self.row.set_message(text + (f" Segmented: {part}." if part else ""))
        if is_as_before:  # the canvas looks as if nothing had happened, and Segment may not be in front
            show_info(text)
        self.sliders.show_counts()
        if cells:
            self._bring_review()

    def _result(self, cells: int, time: str) -> tuple[str, bool]:
        """Return the result in words, and whether all cells shown were there before."""
        session = self.state.session
        assert session is not None, "a result is of the current image"
        given, decided = (
            session.count(statuses=(Status.GIVEN,)),
            session.count(statuses=(Status.ACCEPTED, Status.EDITED)),
        )
        if not given + decided:
            return f"{cells:,} cells shown, in {time}.", False
        new = session.count(statuses=(Status.PROPOSED,))
        kept = " and ".join(f"{n:,} {what}" for n, what in ((given, "given"), (decided, "reviewed")) if n)
        text = (
            f"{counted(new, 'new cell')} above the minimum score; {kept} {'cell' if given + decided == 1 else 'cells'}"
        )
        return f"{text} kept, in {time}. T in Review compares the model's cells with them.", not new

    def _bring_review(self) -> None:
        """Show *Review*; a tab that the user chose meanwhile stays."""
        window = self.state.window
        stays = self._front is not None and window is not None and front_dock(window) is self._front
        if stays or is_in_front(self):
            show_dock(self.state.viewer, "Review")

    def _show_partial(self, *_: object) -> None:
        """Say which cells a run that ended early leaves."""
        job = self.segmentation.job
        so_far = self.segmentation.so_far or self.segmentation.slide_so_far
        if job.is_busy or so_far is None:
            return
        part = f"the cells of {so_far.tile:,} of {so_far.tiles:,} tiles"
        if job.error is None:
            elsewhere = self.segmentation.elsewhere
            how = f"Open {elsewhere} and segment to continue" if elsewhere else f"{self.button.text()} continues"
            resumes = "" if self.segmentation.slide_so_far is None else f" {how}."
            self.row.set_message(f"Stopped: {part} are kept.{resumes}")
        else:
            self.row.set_message(f"Failed: {job.error} {part.capitalize()} are kept.", ERROR)

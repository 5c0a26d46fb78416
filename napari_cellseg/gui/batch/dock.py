"""The dock *Batch*: predicts a folder, lists what to review next, and writes the submission."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton

from napari_cellseg.active_learning import ImageGain
from napari_cellseg.batch import BatchPlan
from napari_cellseg.errors import CellSegError
from napari_cellseg.events import ModelReady
from napari_cellseg.gui.batch.batch import Batch
from napari_cellseg.gui.batch.lists import FailureList, GainList
from napari_cellseg.gui.batch.results import ResultsBox
from napari_cellseg.gui.batch.run import BatchModel, BatchProgress
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.preferences import recall
from napari_cellseg.gui.slides.words import left_out_text
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import (
    ERROR,
    WARNING,
    Dock,
    PrimaryButton,
    Section,
    explain,
    form_layout,
    small_label,
)
from napari_cellseg.gui.widgets.elided import ElidedComboBox
from napari_cellseg.gui.widgets.forms import tame
from napari_cellseg.gui.widgets.job_row import JobRow, clock
from napari_cellseg.gui.widgets.model_picker import ModelPicker
from napari_cellseg.gui.widgets.predict_fields import PixelSize, advanced_form, device_choice, prediction_options
from napari_cellseg.gui.widgets.score_sliders import ScoreSliders
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.wording import counted, listed
from napari_cellseg.workspace.predictions import ImageState

__all__ = ["BatchDock"]

_STEPS = 100
"""Of the progress bar, for each image."""
_MOST_IN_TOOLTIP = 30


class BatchDock(Dock):
    """Folder, model and options; the button; failures; what to review next; the submission."""

    def __init__(self, state: AppState, opener: Opener, batch: Batch) -> None:
        super().__init__(state)
        self.opener, self.batch = opener, batch
        self._soon = QTimer(self)  # several things change together when a folder is opened
        self._soon.setSingleShot(True)
        self._soon.setInterval(50)
        self._soon.timeout.connect(self.look)
        self._make_fields()
        self._fill()
        self._connect()
        self._on_model()
        self.look()
        self._show()

    def _make_fields(self) -> None:
        self.folder = QLabel()
        self.folder.setMinimumWidth(60)
        self.choose = QPushButton("Choose...")
        self.choose.clicked.connect(self._choose_folder)
        self.use_open = QPushButton("Use the open folder")
        self.use_open.clicked.connect(lambda: self.use_folder(None))
        self.counts = small_label()
        self.stacks = small_label()
        self.stacks.setStyleSheet(f"color: {WARNING};")
        self.slides = small_label()
        self.slides.setStyleSheet(f"color: {WARNING};")
        self.every_plane = QCheckBox("Each plane of a stack is an image")
        self.every_plane.clicked.connect(self._separate_planes)
        self.model = ModelPicker()
        self.device = device_choice()
        self.pixel_size = PixelSize()
        self.advanced = advanced_form()
        self.which = _choice(("not predicted yet", "all again"))
        self.which.setToolTip("An image is done if this model predicted the unchanged file with these options")
        self.reviewed = _choice(("leave as they are", "predict the remaining images"))
        self.reviewed.setToolTip(
            "Given, accepted, edited and rejected cells always stay. Only proposed cells are replaced."
        )
        self.sliders = ScoreSliders(self.state)
        self.button = PrimaryButton("Predict")
        self.button.clicked.connect(self._start)
        self.row = JobRow(self.batch.job, "Starting engine...", pausable=True)
        self.device_reason = small_label()
        self.failures, self.failure_why = FailureList(), small_label()
        self.warnings = small_label()
        self.warnings.setStyleSheet(f"color: {WARNING};")
        self.next_title = QLabel("<b>Review next</b>")
        self.next_hint = small_label()
        self.next_images, self.next_why = GainList(), small_label()
        self.results = ResultsBox(self.batch, self.chosen_model, self.look)

    def _fill(self) -> None:
        folder = QHBoxLayout()
        folder.addWidget(self.folder, 1)
        folder.addWidget(self.choose)
        form = form_layout()
        form.addRow("Folder", folder)
        form.addRow("", self.use_open)
        for widget in (self.counts, self.slides, self.stacks, self.every_plane):
            form.addRow(widget)
        form.addRow("Model", self.model)
        form.addRow("Device", self.device)
        form.addRow("Pixel size", self.pixel_size)
        form.addRow("Images", self.which)
        form.addRow("Reviewed", self.reviewed)
        self._form = form
        self.column.addLayout(form)
        self.column.addWidget(Section("Advanced", self.advanced))
        self.column.addWidget(Section("Minimum score", self.sliders))
        for widget in (self.button, self.row, self.device_reason, self.warnings, self.failures, self.failure_why):
            self.column.addWidget(widget)
        for widget in (self.results, self.next_title, self.next_hint, self.next_images, self.next_why):
            self.column.addWidget(widget)
        self.column.addStretch(1)
        for widget in (
            self.slides,
            self.stacks,
            self.every_plane,
            self.device_reason,
            self.warnings,
            self.failures,
            self.failure_why,
            self.next_images,
            self.next_why,
        ):
            widget.hide()

    def _connect(self) -> None:
        # Methods, not lambdas, for objects that outlive the dock: Qt disconnects them when the dock is closed.
        state, batch = self.state, self.batch
        self.model.chosen.connect(state.set_model)
        state.model_changed.connect(self._on_model)
        state.models_changed.connect(self.model.refresh)
        state.workspace_changed.connect(self._on_workspace)
        state.current_changed.connect(self._soon.start)
        state.images_changed.connect(self._soon.start)
        state.loading_changed.connect(self._show)
        for changed in (self.pixel_size.valueChanged, self.advanced.changed):
            changed.connect(lambda *_: self._soon.start())
        for box in (self.which, self.reviewed):
            box.currentIndexChanged.connect(lambda _: self._show())
        batch.planned.connect(self._on_plan)
        batch.plan_job.failed.connect(self._on_plan_failed)
        batch.job.changed.connect(self._on_job)
        batch.job.finished.connect(self._on_finished)
        batch.progressed.connect(self._on_progress)
        batch.model_ready.connect(self._on_ready)
        batch.failures_changed.connect(self._on_failures)
        batch.stored.connect(self._on_stored)
        batch.warned.connect(self._on_warned)
        batch.ranked.connect(self._on_ranked)
        batch.rank_job.failed.connect(self._on_rank_failed)
        for rows, label in ((self.failures, self.failure_why), (self.next_images, self.next_why)):
            rows.wanted.connect(self.open_image)
            rows.why.connect(label.setText)
            rows.why.connect(lambda text, label=label: label.setVisible(bool(text)))

    # ---- what is asked for ----

    def look(self) -> None:
        """Scan the folder again."""
        model = self._model_or_none()
        if not self.batch.job.is_busy:
            self.batch.look(model.key if model is not None else "")

    def chosen_model(self) -> BatchModel | None:
        """Return model and options; None without a model."""
        options = prediction_options(self.model.path, self.device, self.advanced)
        header = self.model.header
        if header is None:
            return None
        return BatchModel(options, header, header.name or self.model.currentText(), self.pixel_size.chosen_um)

    def _model_or_none(self) -> BatchModel | None:
        try:
            return self.chosen_model()
        except CellSegError:  # reported when the button is pressed
            return None

    @property
    def _wish(self) -> dict[str, bool]:
        return {"reviewed_too": self.reviewed.currentIndex() == 1, "again": self.which.currentIndex() == 1}

    def _start(self) -> None:
        try:
            model = self.chosen_model()
            if model is not None:
                self.batch.start(model, **self._wish)
        except CellSegError as error:
            self.row.set_message(str(error), ERROR)

    def open_image(self, image_id: str) -> None:
        """Show an image and bring *Review* to the front."""
        folder = self.batch.folder
        if self.batch.is_open_folder:
            self.opener.show(image_id)
        elif folder is not None:
            self.opener.open_path(folder, image_id=image_id)
        show_dock(self.state.viewer, "Review")

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Predict a folder of images", recall("folder"))
        if name:
            self.use_folder(Path(name))

    def use_folder(self, folder: Path | None) -> None:
        """Use another folder, or (None) the open one."""
        self.batch.choose_folder(folder)
        self.next_images.show_gains(())
        self.look()

    # ---- what is shown ----

    def _on_workspace(self) -> None:
        if not self.batch.job.is_busy:
            self.use_folder(None)

    def _on_model(self) -> None:
        if self.state.model is not None and self.state.model != self.model.path:
            self.model.choose(self.state.model, proposed=self.state.model_is_proposed)
        self._soon.start()

    def _on_plan(self) -> None:
        plan, batch = self.batch.plan, self.batch
        folder = batch.folder
        name = "" if folder is None else folder.name
        self.folder.setText(self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, 150))
        self.folder.setToolTip(str(folder or ""))
        self.use_open.setVisible(self.state.workspace is not None and not batch.is_open_folder)
        if plan is not None:
            numbers = self._count(plan)
            unsaved = [image.file.image_id for image in plan.images if image.state is ImageState.UNSAVED]
            self.counts.setToolTip(
                f"Open these first and decide about their unsaved edits: {', '.join(unsaved)}" if unsaved else ""
            )
            self._show_stacks(plan)
            slides = [image.file.image_id for image in plan.images if image.state is ImageState.SLIDE]
            self.slides.setText(left_out_text(slides))
            self.slides.setToolTip(", ".join(slides))
            self.slides.setVisible(bool(slides))
            has_reviewed = bool(numbers[ImageState.REVIEWED] + numbers[ImageState.GIVEN])
            self.reviewed.setVisible(has_reviewed)
            self._form.labelForField(self.reviewed).setVisible(has_reviewed)
            if not batch.job.is_busy and not batch.rank_job.is_busy:
                batch.rank()
        elif folder is None:
            self.counts.setText("Open a folder of images, or choose one.")
        self._show()

    def _count(self, plan: BatchPlan) -> dict[ImageState, int]:
        """Show and return how many images are in which state."""
        failed = self.batch.failures
        ids = {image.file.image_id for image in plan.images if image.state is ImageState.TO_DO} & failed.keys()
        numbers = {kind: sum(image.state is kind for image in plan.images) for kind in ImageState}
        shown = {kind.value: number for kind, number in numbers.items()}
        shown[ImageState.TO_DO.value] -= len(ids)
        parts = [f"{number} {text}" for text, number in {**shown, "failed": len(ids)}.items() if number]
        self.counts.setText(f"{counted(len(plan.images), 'image')}: {', '.join(parts)}")
        return numbers

    def _on_stored(self, _: str) -> None:
        if self.batch.plan is not None:
            self._count(self.batch.plan)

    def _show_stacks(self, plan: BatchPlan) -> None:
        """Say of which stacks only the first plane is predicted, and offer all planes."""
        stacks = plan.stacks
        ids, planes = [image.file.image_id for image in stacks], sum(image.planes_left_out for image in stacks)
        what = f"{listed(ids, 2)} {'is a stack' if len(ids) == 1 else 'are stacks'}"
        self.stacks.setText(f"{what}: only plane 0 is predicted, {counted(planes, 'plane')} left out.")
        self.stacks.setToolTip(", ".join(ids))
        self.stacks.setVisible(bool(stacks))
        self.every_plane.setChecked(plan.every_plane)
        self.every_plane.setVisible(bool(stacks) or plan.every_plane)

    def _separate_planes(self, every_plane: bool) -> None:
        try:
            self.batch.separate_planes(every_plane)
        except CellSegError as error:
            self.every_plane.setChecked(not every_plane)
            self.row.set_message(str(error), ERROR)
        else:
            self._soon.start()

    def _show(self) -> None:
        files, _ = self.batch.files_to_do(**self._wish)
        number = "" if self.batch.plan is None else " 1 image" if len(files) == 1 else f" {len(files)} images"
        self.button.setText(f"Predict{number}")
        explain(self.button, self._why_not(len(files)), "Each image is stored when it is done. Finished images stay.")
        busy = "Wait for the end of the prediction, or stop it." if self.batch.job.is_busy else None
        for widget, tip in (
            (self.choose, "Choose a folder other than the open one"),
            (self.use_open, "Predict the folder that is open"),
            (self.every_plane, "Predict and list the planes of z-stacks and time series as separate images"),
        ):
            explain(widget, busy, tip)
        self.results.refresh()

    def _why_not(self, to_do: int) -> str | None:
        if self.batch.job.is_busy:
            return "Prediction is running. Pause or stop it below."
        if self.batch.folder is None:
            return "Open a folder of images first."
        if self.state.loading:
            return "Wait until the image is open."
        if self.model.header is None:
            return "Choose a model first."
        if self.batch.plan is None:
            return "The folder is being scanned."
        if all(image.state is ImageState.SLIDE for image in self.batch.plan.images):
            return left_out_text([image.file.image_id for image in self.batch.plan.images])
        return None if to_do else 'All images are done. Tick "all again" or the reviewed images above to repeat them.'

    def _on_job(self) -> None:
        state = self.batch.job.state
        if state is JobState.STARTING:
            self.device_reason.hide()
        if not state.is_busy:
            self._soon.start()
        self._show()

    def _on_progress(self, event: BatchProgress) -> None:
        done = (event.image - 1) * _STEPS + _STEPS * event.tile // event.tiles
        left = "" if event.seconds_left is None else f", about {clock(event.seconds_left)} left"
        tile = f", tile {event.tile} of {event.tiles}" if event.tiles > 1 else ""
        text = f"Image {event.image} of {event.images}{left}: {event.image_id}{tile}, "
        self.row.set_progress(done, event.images * _STEPS, text)

    def _on_ready(self, event: ModelReady) -> None:
        self.device_reason.setText(event.reason)
        self.device_reason.show()

    def _on_finished(self, _: None) -> None:
        failed = len(self.batch.failures)
        done = self.batch.images_of_run - failed
        text = f"{counted(done, 'image')} predicted in {clock(self.batch.job.elapsed_s)}"
        self.row.set_message(f"{text}, {failed} failed (see below)." if failed else f"{text}.", ERROR if failed else "")

    def _on_failures(self) -> None:
        self.failures.show_failures(self.batch.failures)
        self._on_stored("")

    def _on_warned(self) -> None:
        texts = self.batch.warnings
        more = f"\n{counted(len(texts) - 1, 'more warning')} (tooltip)" if len(texts) > 1 else ""
        self.warnings.setText(f"{texts[0]}{more}" if texts else "")
        self.warnings.setToolTip("\n".join(texts[:_MOST_IN_TOOLTIP]))
        self.warnings.setVisible(bool(texts))

    def _on_plan_failed(self, error: CellSegError) -> None:
        self.counts.setText(str(error))

    def _on_rank_failed(self, error: CellSegError) -> None:
        self.next_hint.setText(str(error))

    def _on_ranked(self, gains: list[ImageGain]) -> None:
        self.next_images.show_gains(gains)
        self.next_hint.setText(
            "Ordered by the expected gain for the model. Double-click to review."
            if gains
            else "Predict images first. Images with cells to review are listed here."
        )
        self.next_images.setVisible(bool(gains))


def _choice(texts: tuple[str, ...]) -> QComboBox:
    box = ElidedComboBox()
    tame(box)
    box.addItems(texts)
    return box

"""The dock *Train*: one button from corrected cells to a better model."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QApplication, QDockWidget, QHBoxLayout, QPushButton, QWidget

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.train.form import TrainForm
from napari_cellseg.gui.train.monitor import TrainMonitor
from napari_cellseg.gui.train.run import Plan, TrainRun
from napari_cellseg.gui.train.settings import command_line
from napari_cellseg.gui.train.source import SourceBox
from napari_cellseg.gui.widgets.dock import ERROR, Dock, KeyGuard, PrimaryButton, Section, explain, small_label
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.questions import Answer, ask_to_write
from napari_cellseg.gui.widgets.workflow import dock_of, is_in_front
from napari_cellseg.model.bundled import start_word
from training.past_runs import PastRun, forget, new_run_folder, run_name, unfinished
from training.report import ScanStep
from training.sources import Checked, DataSource, TrainData, edited_items

__all__ = ["TrainDock"]


class TrainDock(Dock):
    """Data, settings, the button, and the run."""

    def __init__(self, state: AppState, opener: Opener, run: TrainRun) -> None:
        super().__init__(state)
        self.run = run
        self.source = SourceBox(state, opener)
        self.check_row = JobRow(self.run.check_job, "Checking the data", notify=False)
        self.write_row = JobRow(self.run.write_job, "Writing class*.tif")
        self.form = TrainForm()
        self.button = PrimaryButton("Train")
        KeyGuard(self.button)
        self.copy_button = QPushButton("Copy command line")
        self.message = small_label()
        self.message.hide()
        self._past: PastRun | None = None
        self._dock: QDockWidget | None = None
        self._wants_to_start = False
        self._limit_min: float | None = None  # of a training asked for in Review; not a setting of the form
        self._checking: TrainData | None = None
        self.resume_row = self._make_resume_row()
        self.monitor = TrainMonitor(self.state, self.run)
        self.form.rows.insertRow(0, "Data", self.source.choice)
        self.form.rows.insertRow(1, self.source)
        self.form.rows.insertRow(2, self.check_row)
        self.settings = Section("Data and settings", self.form, is_open=True)
        for widget in (
            self.settings, self.button, self.copy_button, self.write_row, self.message, self.resume_row, self.monitor,
        ):  # fmt: skip
            self.column.addWidget(widget)
        self.column.addStretch(1)
        self._connect()
        self._on_data()

    def _make_resume_row(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        self.past_label = small_label()
        self.resume_button = QPushButton("Resume")
        self.forget_button = QPushButton("Forget")
        self.forget_button.setToolTip("Hide this run. Its files stay.")
        row.addWidget(self.past_label, 1)
        row.addWidget(self.resume_button)
        row.addWidget(self.forget_button)
        return holder

    def _connect(self) -> None:
        # Methods, not lambdas, for objects that outlive the dock: Qt disconnects them when the dock is closed.
        run, state = self.run, self.state
        self.button.clicked.connect(self._on_train)
        self.copy_button.clicked.connect(self._copy_command)
        self.resume_button.clicked.connect(self._resume)
        self.forget_button.clicked.connect(self._forget)
        self.source.changed.connect(self._on_data)
        state.workspace_changed.connect(self._on_workspace)
        state.model_changed.connect(self._on_models)
        state.models_changed.connect(self._on_models)
        state.training_requested.connect(self._on_request)
        self.form.changed.connect(self._show)
        run.changed.connect(self._show)
        run.check_job.reported.connect(self._on_scan)
        run.check_job.finished.connect(self._on_checked)
        run.check_job.failed.connect(self.source.show_error)
        run.check_job.changed.connect(self._on_check_state)
        run.write_job.reported.connect(self._on_write_step)
        run.write_job.finished.connect(self._on_written)
        run.write_job.changed.connect(self._on_write_state)
        run.job.changed.connect(self._on_job)

    def showEvent(self, event: Any) -> None:  # noqa: D102
        super().showEvent(event)
        dock = dock_of(self)
        if dock is None:
            self._check()
        elif dock is not self._dock:
            self._dock = dock
            dock.visibilityChanged.connect(self._on_tab)

    def _on_tab(self, is_in_front: bool) -> None:
        if is_in_front:
            self._check()  # cells may have been corrected in the meantime; unchanged files are not read again

    # ---- the data ----

    def _on_workspace(self) -> None:
        self.source.show_workspace()
        self._on_data()

    def _on_data(self) -> None:
        """React to another choice of data."""
        self._wants_to_start = False
        if self.run.check_job.is_busy:
            self.run.check_job.stop()
        self.run.checked = None
        self.form.set_report(None)
        self._find_past()
        self._check_if_new()
        self._show()

    def _check_if_new(self) -> None:
        if is_in_front(self) and self.run.checked is None:
            self._check()

    def _check(self) -> None:
        """Check the data, unless the engine is running."""
        data, workspace, state = self.source.data(), self.state.workspace, self.state
        if data is None or self.run.is_busy:
            return
        items: Any = ()
        if workspace is not None and data.source is not DataSource.OTHER:
            items = edited_items(workspace, also_labelled=data.source is DataSource.ANNOTATED)
        named = data.source is DataSource.ANNOTATED or (
            data.source is DataSource.FOLDER and not state.classes_are_provisional
        )
        self._checking = data
        self.run.check(data, items, state.classes if named else None)

    def _on_scan(self, step: ScanStep) -> None:
        self.check_row.set_progress(step.image, step.images, f"image {step.image}/{step.images}")

    def _on_write_step(self, step: ScanStep) -> None:
        self.write_row.set_progress(step.image, step.images, f"image {step.image}/{step.images}")

    def _on_check_state(self) -> None:
        state = self.run.check_job.state
        if state is JobState.STOPPED and self._checking != self.source.data():  # because other data was chosen
            self.check_row.set_message("")
            if self._wants_to_start:
                self._check()
            else:
                self._check_if_new()
        elif state in (JobState.STOPPED, JobState.FAILED):
            self._wants_to_start = False
            if state is JobState.STOPPED:
                self.check_row.set_message("The check was stopped. Train starts it again.")
        if state is JobState.FAILED:
            self.check_row.set_message("")  # the reason stands where the numbers would

    def _on_written(self, _: object) -> None:
        self._check()

    def _on_write_state(self) -> None:
        if self.run.write_job.state in (JobState.STOPPED, JobState.FAILED):
            self._wants_to_start = False

    def _on_checked(self, checked: Checked) -> None:
        if checked.data != self.source.data():
            self._check()
            return
        self.source.show_checked(checked)
        self.form.set_report(checked.report)
        if self._wants_to_start:
            self._go_on(checked)
        self._show()

    # ---- the run ----

    def _on_train(self) -> None:
        self._limit_min = None
        self._begin()

    def _on_request(self, minutes: float) -> None:
        """Train the model of *Segment* on the annotated images for at most ``minutes``."""
        if self.run.job.is_busy or self.run.compare_job.is_busy:
            return
        model = self.state.model
        try:
            if model is not None:
                self.form.start.choose(start_word(model))
        except CellSegError as error:
            self._say(str(error), ERROR)
            return
        if self.source.choice.currentData() is not DataSource.ANNOTATED:
            self.source.choose(DataSource.ANNOTATED)
        self._limit_min = minutes
        self._begin()

    def _begin(self) -> None:
        self._say("")
        self._wants_to_start = True
        self._check()

    def _go_on(self, checked: Checked) -> None:
        """Train on the data just checked; ask about corrections that it does not include."""
        self._wants_to_start = False
        errors = len(checked.report.errors)
        if errors:
            problems = "1 problem" if errors == 1 else f"{errors} problems"
            self._say(f"Training cannot start: fix {problems} first. Click one in the list to see its image.", ERROR)
            return
        workspace = self.state.workspace
        if checked.unwritten and workspace is not None:
            image_ids = [item.file.image_id for item in checked.unwritten]
            answer = ask_to_write(self.window(), image_ids, checked.undecided)
            if answer is Answer.CANCEL:
                return
            if answer is Answer.SAVE:
                self._wants_to_start = True  # after they are written and checked again
                self.run.write(workspace, checked.unwritten)
                return
        self._start(checked.data)

    def _start(self, data: TrainData) -> None:
        try:
            config = self.form.config()
            if self._limit_min is not None:
                config = config.with_changes(max_minutes=self._limit_min)
            folder = new_run_folder(data, config.name)
        except CellSegError as error:
            self._say(str(error), ERROR)
            return
        self.run.start(Plan(config, data.path, folder, is_trial=self._limit_min is not None))

    def _resume(self) -> None:
        self._say("")
        try:
            if self._past is not None:
                self.run.resume(self._past)
        except CellSegError as error:
            self._say(str(error), ERROR)

    def _forget(self) -> None:
        if self._past is not None:
            forget(self._past)
            self._find_past()

    def _find_past(self) -> None:
        data = self.source.data()
        self._past = None if data is None or self.run.job.is_busy else unfinished(data.runs)
        self.resume_row.setVisible(self._past is not None)
        self.past_label.setText(f"Unfinished run: {self._past}")
        self.past_label.setToolTip("" if self._past is None else str(self._past.folder))

    def _on_job(self) -> None:
        if self.run.job.state is JobState.STARTING:
            self.settings.set_open(False)  # the user wants to see the run now
        if not self.run.job.is_busy:
            self.form.start.refresh()
            self.form.show_time()
            self._check_if_new()  # another folder may have been opened meanwhile
        self._find_past()

    def _on_models(self) -> None:
        self.form.start.refresh()

    # ---- what is shown ----

    def _show(self) -> None:
        explain(self.button, self._why_not(), "Check the data, then train with these settings")
        at_work = "The engine is running. Stop it first." if self.run.is_busy else None
        explain(self.resume_button, at_work, "Resume the run where it stopped")
        nothing = None
        if not self.run.job.is_busy:
            nothing = None if self.form.is_ready else "Check the data first."
        explain(self.copy_button, nothing, "The same training as a line for a terminal")

    def _why_not(self) -> str | None:
        run = self.run
        if run.job.is_busy:
            return "Training is running. Stop it first."
        if run.compare_job.is_busy:
            return "Two models are being compared. Wait for the end or stop it."
        if run.check_job.is_busy or run.write_job.is_busy:
            return "The training data is being checked."
        if self.source.data() is None:
            return "Open a folder of annotated images, or choose other data."
        return None

    def _copy_command(self) -> None:
        plan = self.run.plan
        data = self.source.data()
        try:
            if plan is not None and self.run.job.is_busy:
                text = command_line(plan.config, plan.data, plan.folder, resume=plan.resume)
            elif data is not None:
                config = self.form.config()
                text = command_line(config, data.path, data.runs / run_name(data, config.name))
            else:
                return
        except CellSegError as error:
            self._say(str(error), ERROR)
            return
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
        self._say("The command line was copied to the clipboard.")

    def _say(self, text: str, colour: str = "") -> None:
        self.message.setText(text)
        self.message.setStyleSheet(f"color: {colour};" if colour else "")
        self.message.setVisible(bool(text))

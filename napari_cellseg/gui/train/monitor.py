"""The lower part of *Train*: progress and curves of the run, and what to do with its model."""

from __future__ import annotations

import psutil
from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices, QFontDatabase
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from napari_cellseg.errors import CheckpointError
from napari_cellseg.events import EpochDone
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.gui.preferences import preferences
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.train.compare import CompareWindow
from napari_cellseg.gui.train.examples import last_examples
from napari_cellseg.gui.train.lines import end_text, progress_of, resource_text, step_text, stopped_text
from napari_cellseg.gui.train.plots import TrainPlots
from napari_cellseg.gui.train.run import TrainRun
from napari_cellseg.gui.train.tensorboard_server import tensorboard_is_installed
from napari_cellseg.gui.widgets.dock import Section, explain, small_label
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.model_picker import ModelPicker
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.library import ModelEntry
from training.comparison import Comparison, ComparisonStep

__all__ = ["TrainMonitor"]

_UPDATE_MS = 250
_MIB = 2**20


class TrainMonitor(QWidget):
    """Shows one `TrainRun`, from its first step to its result.

    Parameters
    ----------
    state : AppState
    run : TrainRun
    """

    def __init__(self, state: AppState, run: TrainRun) -> None:
        super().__init__()
        self._state, self._run = state, run
        self._lines = 0
        self._total_mib = psutil.virtual_memory().total / _MIB
        self.row = JobRow(run.job, "Starting engine...", pausable=True)
        self.step, self.best, self.resources = small_label(), small_label(), small_label()
        self.plots = TrainPlots(state.viewer)
        self.summary = small_label()
        self.examples, self.board = run.examples, run.board
        self.log = _log_view()
        self.old_model = ModelPicker("compare_with")
        self.old_model.setAccessibleName("Model to compare with")
        self.compare_row = JobRow(run.compare_job, "Starting engine...")
        self.use_row = JobRow(run.use_job, "Copying")
        self._make_buttons()
        self._fill()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_UPDATE_MS)
        self._soon.timeout.connect(self._show_progress)
        self._connect()
        self.show_run()

    def _make_buttons(self) -> None:
        self.use_button = QPushButton("Use this model")
        self.examples_button = QPushButton("Show examples")
        self.folder_button = QPushButton("Run folder")
        self.board_button = QPushButton("TensorBoard")
        self.compare_button = QPushButton("Compare with")
        self.board_button.setVisible(tensorboard_is_installed())

    def _fill(self) -> None:
        self.details = QWidget()
        inside = QVBoxLayout(self.details)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(6)
        for widget in (self.summary, self.step, self.plots, self.best, self.resources):
            inside.addWidget(widget)
        buttons = QGridLayout()
        buttons.addWidget(self.use_button, 0, 0)
        buttons.addWidget(self.examples_button, 0, 1)
        buttons.addWidget(self.folder_button, 1, 0)
        buttons.addWidget(self.board_button, 1, 1)
        inside.addLayout(buttons)
        inside.addWidget(self.use_row)
        compare = QHBoxLayout()
        compare.addWidget(self.compare_button)
        compare.addWidget(self.old_model, 1)
        inside.addLayout(compare)
        inside.addWidget(self.compare_row)
        inside.addWidget(Section("Log", self.log))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.row)
        column.addWidget(self.details)

    def _connect(self) -> None:
        run = self._run
        run.told.connect(self._on_told)
        run.changed.connect(self._show_state)
        run.job.reported.connect(self._on_event)
        run.job.changed.connect(self._on_job)
        run.use_job.finished.connect(self._on_added)
        run.compare_job.reported.connect(self._on_compare_step)
        run.compare_job.finished.connect(self._on_compared)
        self.use_button.clicked.connect(run.use)
        self.examples_button.clicked.connect(self._toggle_examples)
        self.examples.changed.connect(self._show_state)
        self.folder_button.clicked.connect(self._open_folder)
        self.board_button.clicked.connect(self._open_board)
        self.compare_button.clicked.connect(self._compare)

    # ---- what is shown ----

    def show_run(self) -> None:
        """Show the run that was just started."""
        run = self._run
        self.log.clear()
        self._lines = 0
        self.details.setVisible(run.plan is not None)
        if run.plan is not None:
            self.plots.show_history(run.history, run.plan.config.classes)
        self._show_progress()
        self._show_state()

    def _on_told(self) -> None:
        self.plots.refresh()
        if not self._soon.isActive():
            self._soon.start()

    def _on_event(self, event: object) -> None:
        if isinstance(event, EpochDone):
            self._show_state()
            if self.examples.is_shown and self._run.plan is not None:
                self.examples.show(self._run.plan.folder)

    def _show_progress(self) -> None:
        history, plan = self._run.history, self._run.plan
        if self._run.job.state is JobState.RUNNING:
            self.row.set_progress(*progress_of(history))
        budget = None if plan is None else plan.config.data.ram_budget_mib
        texts = {
            self.step: step_text(history, None if plan is None else plan.config.max_minutes)
            if self._run.job.is_busy
            else "",
            self.best: history.best_text(),
            self.resources: resource_text(history, budget, self._total_mib, preferences().vram_budget_mib),
        }
        for label, text in texts.items():
            label.setText(text[:1].upper() + text[1:])
            label.setVisible(bool(text))
        new = min(history.line_count - self._lines, len(history.lines))
        for line in list(history.lines)[len(history.lines) - new :]:
            self.log.appendPlainText(line)
        self._lines = history.line_count

    def _on_job(self) -> None:
        if self._run.job.state is JobState.STARTING:
            self.summary.hide()
            self.use_row.set_message("")
            self.compare_row.set_message("")
            self.show_run()
        elif not self._run.job.is_busy:
            self._show_end()

    def _show_end(self) -> None:
        run = self._run
        self._soon.stop()
        self._show_progress()
        self.plots.refresh()
        if run.job.state is JobState.STOPPED:
            self.row.set_message(stopped_text(run.history))
        classes = self._state.classes if run.plan is None else run.plan.config.classes
        self.summary.setText(end_text(run.history, classes) if run.job.state is JobState.FINISHED else "")
        self.summary.setVisible(bool(self.summary.text()))

    def _show_state(self) -> None:
        run = self._run
        no_model = "No epoch has been validated yet, so there is no model." if run.best is None else None
        adding = "It is being copied." if run.use_job.is_busy else None
        explain(
            self.use_button, no_model or adding, "Add the model of the best epoch to the library, and segment with it"
        )
        at_work = "The engine is running. Wait for the end or stop it." if run.is_busy else None
        explain(self.compare_button, no_model or at_work, "Which cells of the validation images were gained and lost")
        shown = self.examples.is_shown
        self.examples_button.setText("Hide examples" if shown else "Show examples")
        has_examples = run.plan is not None and last_examples(run.plan.folder)[0] > 0
        none_yet = None if shown or has_examples else "Examples appear after the first validation."
        explain(
            self.examples_button, none_yet, "Show ground truth and prediction of the last validation next to the image"
        )
        folder = None if run.plan is not None and run.plan.folder.is_dir() else "There is no run yet."
        explain(self.folder_button, folder, "Open the folder with settings, metrics, plots and models of this run")
        explain(self.board_button, folder, "Show all runs of this folder in TensorBoard, in the browser")

    # ---- what the buttons do ----

    def _toggle_examples(self) -> None:
        if self.examples.is_shown:
            self.examples.hide()
        elif self._run.plan is not None:
            self.examples.show(self._run.plan.folder)

    def _open_folder(self) -> None:
        if self._run.plan is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._run.plan.folder)))

    def _open_board(self) -> None:
        if self._run.plan is not None:
            self.board.show(self._run.plan.folder.parent)

    def _compare(self) -> None:
        self._run.compare(self.old_model.path or bundled())

    def _on_compare_step(self, event: object) -> None:
        if isinstance(event, ComparisonStep):
            self.compare_row.set_progress(round(event.done * 1000), 1000, f"image {event.image}/{event.images}")

    def _on_compared(self, comparison: Comparison) -> None:
        plan = self._run.plan
        if plan is not None:
            self.compare_row.set_message(f"{comparison.gained:,} cells gained, {comparison.lost:,} lost.")
            self.window_of_comparison = CompareWindow(
                self._state, comparison, comparison.table, plan.data, self.window()
            )
            self.window_of_comparison.show()

    def _on_added(self, entry: ModelEntry) -> None:
        self.old_model.refresh()
        try:
            self._state.set_model(entry.path)
        except CheckpointError as error:  # deleted in between
            self.use_row.set_message(f"Failed: {error}")
            return
        again = " and the open image is segmented again" if self._state.session is not None else ""
        self.use_row.set_message(f'Segment now uses "{entry.name}"{again}.')
        self._state.wants_comparison = True
        self._state.segment_requested.emit()


def _log_view() -> QPlainTextEdit:
    view = QPlainTextEdit()
    view.setAccessibleName("Log of the run")
    view.setTabChangesFocus(True)
    view.setReadOnly(True)
    view.setMaximumBlockCount(500)
    view.setFixedHeight(140)
    view.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
    return view

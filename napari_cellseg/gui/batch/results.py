"""The last part of *Batch*: the submission, checked against the id file, and the command line."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_cellseg.batch import BatchPlan, predict_command
from napari_cellseg.errors import CellSegError
from napari_cellseg.export import ExportProgress, ExportSummary
from napari_cellseg.formats.ids import missing_text
from napari_cellseg.gui.batch.batch import Batch
from napari_cellseg.gui.batch.run import BatchModel
from napari_cellseg.gui.widgets.dock import WARNING, explain, form_layout, small_label
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.notify import show_error, show_info

__all__ = ["ResultsBox", "ids_text"]

_NAMED = 3
_NAME_WIDTH = 190


def ids_text(plan: BatchPlan) -> tuple[str, bool]:
    """Return how the id file fits the images, and whether something is wrong."""
    if plan.ids_file is None:
        return "Without an id file, the images get the ids 1, 2, ... in the order of their names.", False
    if plan.ids_problem:
        return plan.ids_problem, True
    assert plan.ids is not None  # there is a file without problems
    lines = plan.ids.preview()
    return "\n".join(lines), len(lines) > 1


class ResultsBox(QWidget):
    """Id file, folder, the button that writes, and the command line to copy.

    Parameters
    ----------
    batch : Batch
    model : callable
        Returns model and options; raises a `ConfigError` if the fields contradict each other.
    look : callable
        Scans the folder again, after another id file was chosen.
    """

    def __init__(self, batch: Batch, model: Callable[[], BatchModel | None], look: Callable[[], None]) -> None:
        super().__init__()
        self._batch, self._model, self._look = batch, model, look
        self._summary: ExportSummary | None = None
        self.ids_name, self.ids = QLabel(), small_label()
        self.folder = QLineEdit()
        self.folder.setAccessibleName("Folder of the results")
        self.folder.setPlaceholderText("Choose a folder")
        self.folder.textChanged.connect(self.folder.setToolTip)  # a path is longer than a dock is wide
        self.folder.textChanged.connect(self.refresh)
        self.write = QPushButton("Write results")
        self.write.clicked.connect(lambda: self.submit())
        self.copy = QPushButton("Copy command line")
        self.copy.clicked.connect(self.copy_command)
        self.row = JobRow(batch.submit_job)
        self.problems = small_label()
        self.problems.setStyleSheet(f"color: {WARNING};")
        self.problems.hide()
        self.open = QPushButton("Open the folder")
        self.open.clicked.connect(self._open_folder)
        self.open.hide()
        self._fill()
        batch.planned.connect(self._on_plan)
        batch.submit_job.changed.connect(self.refresh)
        batch.job.changed.connect(self.refresh)
        batch.submit_job.reported.connect(self._on_event)
        batch.submit_job.finished.connect(self._on_written)
        self._on_plan()

    def _fill(self) -> None:
        form = form_layout()
        for title, field, tip, choose in (
            ("Ids", self.ids_name, "Choose the id file", self._choose_ids),
            ("Write to", self.folder, "Choose the folder", self._choose_folder),
        ):
            row = QHBoxLayout()
            row.addWidget(field, 1)
            row.addWidget(_small_button(tip, choose))
            form.addRow(title, row)
        buttons = QHBoxLayout()
        for button in (self.write, self.copy):
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(QLabel("<b>Submission</b>"))
        layout.addLayout(form)
        layout.addWidget(self.ids)
        layout.addLayout(buttons)
        for widget in (self.row, self.problems, self.open):
            layout.addWidget(widget)

    def submit(self) -> None:
        """Write the files, in a worker."""
        self.problems.hide()
        self.open.hide()
        self._batch.submit(Path(self.folder.text().strip()).expanduser())

    def command(self) -> list[str] | None:
        """Return the command that predicts this folder with these settings; None without folder or model.

        Raises
        ------
        ConfigError
            The settings do not fit together.
        """
        model, folder = self._model(), self._batch.folder
        if model is None or folder is None:
            return None
        out = Path(self.folder.text().strip()).expanduser()
        reading = [] if self._batch.plan is None else self._batch.plan.reading_words
        return predict_command(model.options, folder, out, self._batch.ids_file, model.pixel_size_um, reading)

    def copy_command(self) -> None:
        """Copy the command to the clipboard, quoted for this system's shell."""
        try:
            arguments = self.command()
        except CellSegError as error:
            show_error(error, self.window())
            return
        clipboard = QApplication.clipboard()
        if arguments is not None and clipboard is not None:
            clipboard.setText(_quoted(arguments))
            show_info("The command was copied to the clipboard.")

    def refresh(self) -> None:
        """Enable the buttons that can work, with the reason on the others."""
        explain(
            self.write,
            self._why_not(),
            "test-results.json and its zip: all cells that were not rejected, down to the lowest score",
        )
        nothing = "Open a folder of images first." if self._batch.folder is None else None
        explain(self.copy, nothing, "The same prediction as a command, for a terminal or a cluster")

    def _why_not(self) -> str | None:
        batch = self._batch
        if batch.folder is None:
            return "Open a folder of images first."
        if batch.job.is_busy:
            return "Wait for the end of the prediction, or stop it."
        if batch.submit_job.is_busy:
            return "It is being written."
        if batch.plan is None:
            return "The folder is being scanned."
        return None if self.folder.text().strip() else "Choose a folder first."

    def _on_plan(self) -> None:
        batch, plan = self._batch, self._batch.plan
        if plan is not None:
            text, is_wrong = ids_text(plan)
            self.ids.setText(text)
            self.ids.setStyleSheet(f"color: {WARNING};" if is_wrong else "")
            name = "none found" if plan.ids_file is None else plan.ids_file.name
            self.ids_name.setText(self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, _NAME_WIDTH))
            self.ids_name.setToolTip(str(plan.ids_file or "Searched in the folder and next to it"))
        elif batch.folder is None:
            self.ids.setText("")
            self.ids_name.setText("")
        folder = batch.folder
        place = "" if folder is None else str(folder.parent / f"{folder.stem}-results")
        if place != self.folder.property("proposed"):  # another folder was chosen
            self.folder.setProperty("proposed", place)
            self.folder.setText(place)
            self.problems.hide()
            self.open.hide()
            self.row.set_message("")
        self.refresh()

    def _on_event(self, event: ExportProgress) -> None:
        self.row.set_progress(event.image, event.images, f"{event.image}/{event.images}")

    def _on_written(self, summary: ExportSummary) -> None:
        self._summary = summary
        self.row.set_message(f"Written and checked: {summary.cells:,} cells, {summary}.")
        plan = self._batch.plan
        missing = plan.ids.missing if plan is not None and plan.ids is not None else ()
        lines = [f"{image_id}: {text}" for image_id, text in summary.problems[:_NAMED]]
        lines += [missing_text(missing)] if missing else []
        self.problems.setText("\n".join(lines))
        self.problems.setVisible(bool(lines))
        self.open.show()

    def _choose_ids(self) -> None:
        folder = self._batch.folder
        name, _ = QFileDialog.getOpenFileName(self, "Image ids", str(folder or ""), "JSON (*.json)")
        if name:
            self._batch.choose_ids(Path(name))
            self._look()

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Write the results to", self.folder.text())
        if name:
            self.folder.setText(name)

    def _open_folder(self) -> None:
        if self._summary is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._summary.folder)))


def _small_button(tip: str, on_click: Callable[[], None]) -> QPushButton:
    button = QPushButton("...")
    button.setFixedWidth(32)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.clicked.connect(lambda: on_click())
    return button


def _quoted(arguments: Sequence[str]) -> str:
    return subprocess.list2cmdline(arguments) if sys.platform == "win32" else shlex.join(arguments)

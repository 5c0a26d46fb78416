"""The button *Write report*: writes the HTML page about the chosen images, and opens it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CellSegError
from napari_cellseg.export import ExportItem, ExportProgress
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import WARNING, explain
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.wording import counted

if TYPE_CHECKING:
    from napari_cellseg.report.write import ReportSummary

__all__ = ["REPORT_NAME", "ReportRow"]

REPORT_NAME = "report.html"


class ReportRow(QWidget):
    """The button, and the progress and outcome below it.

    Parameters
    ----------
    state : AppState
    items : callable
        Returns the images to report, in the window's thread; may raise a `CellSegError`.
    folder : callable
        Returns the folder that the page is written to.
    """

    def __init__(self, state: AppState, items: Callable[[], Sequence[ExportItem]], folder: Callable[[], Path]) -> None:
        super().__init__()
        self._state = state
        self._items = items
        self._folder = folder
        self._page: Path | None = None
        self.job = Job(state, "writing the report", on_close="Writing stops; there is no report.")
        self.job.end_with(self, show_error)
        self.button = QPushButton("Write report")
        self.button.clicked.connect(self.write)
        self.open_button = QPushButton("Open the report")
        self.open_button.clicked.connect(self._open)
        self.open_button.hide()
        self.row = JobRow(self.job)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button)
        buttons.addWidget(self.open_button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.row)
        self.job.reported.connect(self._on_event)
        self.job.finished.connect(self._on_finished)

    def show_reason(self, why_not: str | None) -> None:
        """Enable the button, or say why it cannot be used."""
        tip = f"One HTML page with counts, plots, outliers and pictures, for a colleague: {REPORT_NAME} in the folder"
        explain(self.button, "A report is being written." if self.job.is_busy else why_not, tip)

    def forget(self) -> None:
        """Offer the page of an earlier folder no longer."""
        self._page = None
        self.open_button.hide()
        self.row.set_message("")

    def write(self) -> None:
        """Write the page, in a worker."""
        try:
            items = self._items()
        except CellSegError as error:
            show_error(error, self.window())
            return
        workspace = self._state.workspace
        source = "the images" if workspace is None else str(workspace.project.folder)
        self.forget()
        self.job.start(partial(_steps, items, self._state.classes, self._folder() / REPORT_NAME, source))

    def _on_event(self, event: ExportProgress) -> None:
        self.row.set_progress(event.image, event.images, f"image {event.image} of {event.images}")

    def _on_finished(self, summary: ReportSummary) -> None:
        self._page = summary.path
        text = f"{counted(summary.images, 'image')}, {summary.counted} -> {summary.path}"
        if summary.problems:
            text += f"\n{counted(len(summary.problems), 'image')} left out, which the page names"
        self.row.set_message(text, WARNING if summary.problems else "")
        self.open_button.show()

    def _open(self) -> None:
        if self._page is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._page)))


def _steps(
    items: Sequence[ExportItem], classes: ClassTable, page: Path, source: str
) -> Generator[ExportProgress, None, ReportSummary]:
    # Imported by the worker: its plotting library would make the start of the viewer slower.
    from napari_cellseg.report.write import write_report

    return write_report(items, classes, page, source=source)

"""The button *Compare with a reader*: compares this folder with the one of another reader, and writes the protocol."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cellseg.export import ExportProgress
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.preferences import remember_second_reader
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import explain
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.wording import counted
from napari_cellseg.workspace import Annotations, look_at

if TYPE_CHECKING:
    from napari_cellseg.report.agreement import Agreement

__all__ = ["AGREEMENT_NAME", "AgreementRow"]

AGREEMENT_NAME, ADJUDICATION_NAME = "agreement", "adjudication.csv"


class AgreementRow(QWidget):
    """The button, and the figures below it.

    Parameters
    ----------
    state : AppState
    folder : callable
        Returns the folder that protocol and page are written to.
    """

    def __init__(self, state: AppState, folder: Callable[[], Path]) -> None:
        super().__init__()
        self._state, self._folder = state, folder
        self._page: Path | None = None
        self._agreement: Agreement | None = None
        self._other: Path | None = None
        self.job = Job(state, "comparing two readers", on_close="Comparing stops; there is no protocol.")
        self.job.end_with(self, show_error)
        self.button = QPushButton("Compare with a reader...")
        self.button.clicked.connect(self._choose)
        self.open_button = QPushButton("Open the page")
        self.open_button.clicked.connect(self._open)
        self.cells_button = QPushButton("Show disagreements")
        self.cells_button.clicked.connect(self._show_cells)
        self.disputes_button = QPushButton("Review the disputed cells")
        self.disputes_button.clicked.connect(self._review)
        self.row = JobRow(self.job)
        after = QHBoxLayout()
        for button in (self.open_button, self.cells_button):
            button.hide()
            after.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.button, self.row):
            layout.addWidget(widget)
        layout.addLayout(after)
        layout.addWidget(self.disputes_button)
        self.disputes_button.hide()
        self.job.reported.connect(self._on_event)
        self.job.finished.connect(self._on_finished)
        state.current_changed.connect(self._show)
        state.disputed_changed.connect(self._show)

    def show_reason(self, why_not: str | None) -> None:
        """Enable the button, or say why it cannot be used."""
        tip = f"Compare your decisions with a copy of this folder that another reader reviewed: {AGREEMENT_NAME}.csv"
        explain(self.button, "Two readers are being compared." if self.job.is_busy else why_not, f"{tip} and .html")

    def forget(self) -> None:
        """Offer the page of an earlier folder no longer."""
        self._page = self._agreement = self._other = None
        self.row.set_message("")
        self._show()

    def compare(self, other: Path) -> None:
        """Compare with the folder of the other reader, in a worker."""
        workspace = self._state.workspace
        if workspace is not None:
            self.forget()
            image_id = self._state.image_id
            here = None if image_id is None else workspace.read(image_id)
            present = {} if image_id is None or here is None else {image_id: here}
            self._other = other
            self.job.start(partial(_steps, workspace.project.path, other, self._folder() / AGREEMENT_NAME, present))

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self.window(), "Folder of the other reader")
        if chosen:
            self.compare(Path(chosen))

    def _on_event(self, event: ExportProgress) -> None:
        self.row.set_progress(event.image, event.images, f"image {event.image} of {event.images}")

    def _on_finished(self, result: tuple[Agreement, Path]) -> None:
        from napari_cellseg.report.adjudication import adjudication_lines
        from napari_cellseg.report.agreement import kappa
        from napari_cellseg.report.page import number_text

        agreement, self._page = result
        self._agreement = agreement
        workspace = self._state.workspace
        if self._other is not None and workspace is not None:
            remember_second_reader(workspace.project.folder, self._other)
            self._state.set_second_reader(self._other)
            self._state.set_disputed({image.image_id: image.open for image in agreement.images})
        differ, cells = len(agreement.cells(only_disagreements=True)), len(agreement.cells())
        first, second = agreement.readers
        settled = f" {'. '.join(adjudication_lines(agreement))}." if agreement.settled else ""
        self.row.set_message(
            f"{first} and {second}: kappa {number_text(kappa(agreement.table))}; they differ on {differ:,} of "
            f"{counted(cells, 'cell')} of {counted(len(agreement.images), 'image')}.{settled} -> {self._page}"
        )
        self._show()

    def _show(self) -> None:
        self.open_button.setVisible(self._page is not None)
        self.cells_button.setVisible(self._agreement is not None)
        why_not = None if self._here() else "The readers do not differ on a cell of the open image that it has."
        explain(self.cells_button, why_not, "The cells of this image on which the readers differ, in the Gallery")
        left = sum(self._state.disputed.values())
        self.disputes_button.setVisible(self._agreement is not None)
        self.disputes_button.setText(
            f"Review the {counted(left, 'disputed cell')}" if left else "No disputed cell is open"
        )
        why_not = None if left else "The readers agree, or all disputed cells are settled."
        explain(self.disputes_button, why_not, "A queue of only these cells in Review; each decision settles one")

    def _here(self) -> tuple[int, ...]:
        """Return the cells of the open image on which the readers differ."""
        session, agreement = self._state.session, self._agreement
        if session is None or agreement is None:
            return ()
        cells = [c for c in agreement.cells(only_disagreements=True) if c.image_id == self._state.image_id]
        return tuple(c.first.cell_id for c in cells if c.first is not None and c.first.cell_id in session.cells)

    def _show_cells(self) -> None:
        found = self._here()
        gallery: Any = show_dock(self._state.viewer, "Gallery")
        if gallery is not None and found:
            gallery.show_only(found, f"{counted(len(found), 'cell')} on which the readers differ")

    def _review(self) -> None:
        show_dock(self._state.viewer, "Review")  # which hears the request
        self._state.disputes_requested.emit()

    def _open(self) -> None:
        if self._page is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._page)))


def _steps(
    first: Path, second: Path, target: Path, present: Mapping[str, Annotations]
) -> Generator[ExportProgress, None, tuple[Agreement, Path]]:
    # Imported by the worker: its plotting library would make the start of the viewer slower.
    from napari_cellseg.report.adjudication import write_adjudication
    from napari_cellseg.report.protocol import agreement_of, write_agreement_page, write_protocol

    mine = look_at(first)
    agreement = yield from agreement_of(mine, look_at(second), present)
    page = target.with_name(f"{target.name}.html")
    write_protocol(agreement, target.with_name(f"{target.name}.csv"))
    write_agreement_page(agreement, mine, page)
    if agreement.settled or agreement.open:
        write_adjudication(agreement, target.with_name(ADJUDICATION_NAME))
    return agreement, page

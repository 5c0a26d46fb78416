"""The dock *Models*: the model library with origin and metrics of each model."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QTextOption
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.models.details import details_html, details_json
from napari_cellseg.gui.models.table import ModelTable
from napari_cellseg.gui.preferences import recall
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.bottom_dock import BottomDock
from napari_cellseg.gui.widgets.dock import ERROR, PrimaryButton, explain, small_label
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.model.checkpoint import read_header
from napari_cellseg.model.library import ModelEntry, ModelLibrary

__all__ = ["ModelsDock"]

_FILES = "Models (*.safetensors);;All files (*)"
_RUN_FILES = ("best", "last")


class ModelsDock(BottomDock):
    """A table of all models, the details of the selected one, and its actions."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self.library = ModelLibrary()
        self.job = Job(self.state, "copying a model", on_close="Copying the model stops; no copy is made.")
        self.job.end_with(self, show_error)
        self.table = ModelTable()
        self.details = QTextBrowser()
        self.details.setAccessibleName("Details of the model")
        self.details.setTabChangesFocus(True)
        self.details.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.details.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.use = PrimaryButton("Use in Segment")
        self.add = QPushButton("Import...")
        self.save = QPushButton("Export...")
        self.rename = QPushButton("Rename")
        self.remove = QPushButton("Delete...")
        self.copy = QPushButton("Copy details")
        self.row = JobRow(self.job, "Checking")
        self.confirmation = _Sure()
        self._fill()
        self.table.picked.connect(lambda _: self._show())
        self.table.renamed.connect(self._rename)
        self.use.clicked.connect(lambda: self._use())
        self.add.clicked.connect(lambda: self._choose_import())
        self.save.clicked.connect(lambda: self._choose_export())
        self.rename.clicked.connect(self.table.rename)
        self.remove.clicked.connect(self._ask)
        self.copy.clicked.connect(self._copy)
        self.confirmation.yes.clicked.connect(lambda: self._delete())
        self.confirmation.no.clicked.connect(self.confirmation.hide)
        self.job.changed.connect(self._show)
        self.job.finished.connect(self._on_copied)
        self.state.models_changed.connect(self.refresh)
        self.state.model_changed.connect(self._show)
        self.refresh()

    def _fill(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        self.use.setMinimumWidth(150)
        buttons.addWidget(self.use)
        for button in (self.add, self.save, self.copy, self.rename, self.remove):
            buttons.addWidget(button)
        buttons.addStretch(1)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.table, 1)
        column.addLayout(buttons)
        column.addWidget(self.confirmation)
        column.addWidget(self.row)
        parts = QSplitter(Qt.Orientation.Horizontal)
        for part, share in ((left, 3), (self.details, 2)):
            parts.addWidget(part)
            parts.setStretchFactor(parts.count() - 1, share)
        parts.setChildrenCollapsible(False)
        parts.setSizes([580, 420])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.addWidget(parts)

    def showEvent(self, event: Any) -> None:  # noqa: D102
        super().showEvent(event)
        self.refresh()  # a run or a file may have been added

    def refresh(self, select: Path | None = None) -> None:
        """List the models again."""
        entry = self.table.entry
        self.table.show_entries(self.library.entries(), select or (entry.path if entry else self.state.model))

    # ---- what can be done ----

    def import_file(self, path: Path) -> None:
        """Copy a model file into the library, in a worker; files of other programs are refused with the reason."""
        library = self.library

        def run() -> Generator[None, None, ModelEntry]:
            yield None
            name = read_header(path).name if path.stem in _RUN_FILES else path.stem
            yield None
            return library.import_file(path, name or path.stem)

        self.job.start(run)

    def export_file(self, entry: ModelEntry, target: Path) -> None:
        """Copy a model to a file, in a worker; the file dialog has asked before a file is replaced."""
        library = self.library

        def run() -> Generator[None, None, Path]:
            yield None
            return library.export_file(entry, target, overwrite=True)

        self.job.start(run)

    def _use(self) -> None:
        entry = self.table.entry
        if entry is not None:
            self.state.set_model(entry.path)
            show_dock(self.state.viewer, "Segment")

    def _rename(self, entry: ModelEntry, name: str) -> None:
        is_used = self.state.model == entry.path
        try:
            renamed = self.library.rename(entry, name)
        except CellSegError as error:
            self.row.set_message(str(error), ERROR)
            return
        self.row.set_message("")
        if is_used:
            self.state.set_model(renamed.path)
        self._changed(renamed.path)

    def _ask(self) -> None:
        entry = self.table.entry
        if entry is not None:
            self.confirmation.ask(f'Delete "{entry.name}" from the library permanently?')

    def _delete(self) -> None:
        entry = self.table.entry
        self.confirmation.hide()
        if entry is None:
            return
        try:
            self.library.delete(entry)
        except CellSegError as error:
            self.row.set_message(str(error), ERROR)
        else:
            self.row.set_message(f"{entry.name} was deleted.")
        self._changed()

    def _copy(self) -> None:
        entry, clipboard = self.table.entry, QApplication.clipboard()
        if entry is not None and clipboard is not None:
            clipboard.setText(details_json(entry))
            self.row.set_message("The details were copied to the clipboard as JSON.")

    def _choose_import(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Import a model", recall("folder"), _FILES)
        if name:
            self.import_file(Path(name))

    def _choose_export(self) -> None:
        entry = self.table.entry
        if entry is not None:
            name, _ = QFileDialog.getSaveFileName(self, "Export a model", f"{entry.name}.safetensors", _FILES)
            if name:
                self.export_file(entry, Path(name))

    def _on_copied(self, result: ModelEntry | Path) -> None:
        if isinstance(result, ModelEntry):
            self.row.set_message(f"{result.name} was added to the library.")
            self._changed(result.path)
        else:
            self.row.set_message(f"Written to {result}.")

    def _changed(self, select: Path | None = None) -> None:
        self.state.models_changed.emit()
        self.refresh(select)

    # ---- what is shown ----

    def _show(self) -> None:
        entry = self.table.entry
        text = "" if entry is None else details_html(entry)
        if text != self.details.property("shown"):
            self.details.setProperty("shown", text)
            self.details.setHtml(text)
            self.confirmation.hide()
        nothing = "Choose a model in the table first." if entry is None else None
        busy = "Wait for the end of the copy." if self.job.is_busy else None
        unread = "This file cannot be read. See below." if entry is not None and entry.header is None else None
        in_use = "Segment already uses this model." if entry is not None and entry.path == self.state.model else None
        bundled = (
            "Bundled with the program. Export a copy." if entry is not None and entry.origin == "bundled" else None
        )
        explain(self.use, nothing or unread or in_use, "Use this model for the next segmentation")
        explain(self.add, busy, "Copy a model file into the library. Its checksum is verified.")
        explain(self.save, nothing or unread or busy, "Copy the model to a file, for a colleague or another computer")
        explain(self.copy, nothing or unread, "Copy settings, metrics and provenance as JSON")
        explain(self.rename, nothing or bundled or busy, "Rename the model (F2)")
        explain(self.remove, nothing or bundled or busy, "Remove the model from the library, after a question")


class _Sure(QWidget):
    """A question inside the dock; the window stays usable."""

    def __init__(self) -> None:
        super().__init__()
        self._text = small_label()
        self.yes = QPushButton("Delete")
        self.no = QPushButton("Keep")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._text, 1)
        for button in (self.yes, self.no):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def ask(self, text: str) -> None:
        self._text.setText(text)
        self.show()
        self.no.setFocus()

"""The part of *Open* that imports annotations of other tools: what would be kept, then *Import* or *Cancel*."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.widgets.dock import ERROR, PrimaryButton, explain, small_label
from napari_cellseg.gui.widgets.job_row import JobRow
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.importers import Imported, ImportOptions, import_annotations
from napari_cellseg.importers.write import write_training_folder
from napari_cellseg.wording import counted

__all__ = ["ImportPanel", "preview_text"]

_MOST_ROWS = 200


class ImportPanel(QWidget):
    """Shows what an import would bring before anything is written; hidden while there is none.

    Parameters
    ----------
    opener : Opener
        Opens the folder that was written.
    """

    is_shown_changed = Signal(bool)

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self.opener = opener
        self.job = Job(opener.state, "importing annotations", on_close="Importing annotations stops.")
        self.job.end_with(self, show_error)
        self.result: Imported | None = None
        self.folder: Path | None = None
        self._source: Path | None = None
        self.title, self.headline = QLabel(), small_label()
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setAccessibleName("What the import reads and leaves out")
        self.details.setTabChangesFocus(True)
        self.details.setFixedHeight(150)
        self.split = QCheckBox("Split binary masks into cells")
        self.split.setToolTip("Make each separate region of a mask a cell, and cut regions at their waists")
        self.split.toggled.connect(lambda: self._read())
        self.target = small_label()
        self.choose = QPushButton("Choose...")
        self.choose.setToolTip("The folder that the images and label images are written to")
        self.choose.clicked.connect(self._choose)
        self.button = PrimaryButton("Import")
        self.button.clicked.connect(self._import)
        self.cancel = QPushButton("Cancel")
        self.cancel.setMinimumHeight(34)
        self.cancel.clicked.connect(self.close_panel)
        self._row = JobRow(self.job, "Reading the annotations", notify=False)
        self.job.finished.connect(self._on_read)
        self.job.failed.connect(self._on_failed)
        self.job.changed.connect(self._show)
        self._fill()
        self.hide()

    def _fill(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        target = QHBoxLayout()
        target.addWidget(self.target, 1)
        target.addWidget(self.choose, 0, Qt.AlignmentFlag.AlignTop)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 2)
        buttons.addWidget(self.cancel, 1)
        for widget in (self.title, self._row, self.headline, self.details, self.split):
            column.addWidget(widget)
        column.addLayout(target)
        column.addLayout(buttons)

    def start(self, path: Path) -> None:
        """Read annotations and show what is in them."""
        self._source, self.folder = path, free_folder(path)
        self.split.blockSignals(True)
        self.split.setChecked(False)
        self.split.blockSignals(False)
        self.title.setText(f"<b>Import</b> {path.name}")
        self.show()
        self.is_shown_changed.emit(True)
        self._read()

    def close_panel(self) -> None:
        """Stop, forget what was read and hide; nothing is written."""
        self.job.stop()
        self.result = None
        self.hide()
        self.is_shown_changed.emit(False)

    def _read(self) -> None:
        path, split = self._source, "touching" if self.split.isChecked() else "no"
        if path is not None:
            self.result = None
            self.job.start(lambda: _reading(path, ImportOptions(split=split)))
            self._show()

    def _on_read(self, result: Imported) -> None:
        self.result = result
        self._show()

    def _on_failed(self, error: CellSegError) -> None:
        self.headline.setText(f'<span style="color: {ERROR}">{error}</span>')
        self.details.hide()
        explain(self.button, "There is nothing to import.")

    def _show(self) -> None:
        result, busy = self.result, self.job.is_busy
        self.details.setVisible(result is not None and bool(preview_text(result)))
        self.split.setVisible(result is not None and (self.split.isChecked() or _has_masks(result)))
        self.target.setText(f"Writes to {self.folder}")
        why = "The annotations are being read." if busy else "There is nothing to import."
        explain(self.button, None if result is not None and result.kept else why, "Write the folder and open it")
        if result is not None:
            headline = result.headline()
            self.headline.setText(f"{result.format_name}: {headline}.")
            self.details.setPlainText(preview_text(result))
        elif self.job.state is not JobState.FAILED:
            self.headline.setText("")

    def _choose(self) -> None:
        start = str(self.folder.parent) if self.folder is not None else ""
        folder = QFileDialog.getExistingDirectory(self, "Write the imported images to", start)
        if folder:
            self.folder = Path(folder)
            self._show()

    def _import(self) -> None:
        result, folder = self.result, self.folder
        if result is None or folder is None:
            return
        self.opener.open_made_folder(lambda: _writing(result, folder), folder)
        self.result = None
        self.hide()
        self.is_shown_changed.emit(False)


def preview_text(result: Imported) -> str:
    """Return the notes, then the rows that were left out, one line each."""
    lines = [*result.notes, *(f"left out: {item}" for item in result.left_out[:_MOST_ROWS])]
    more = len(result.left_out) - _MOST_ROWS
    return "\n".join([*lines, *([f"left out: and {more:,} more"] if more > 0 else [])])


def free_folder(path: Path) -> Path:
    """Return a folder next to a source that does not exist yet."""
    name = f"{path.stem if path.is_file() else path.name} imported"
    names = (name if number == 1 else f"{name} {number}" for number in range(1, 10_000))
    return next(path.parent / name for name in names if not (path.parent / name).exists())


def _has_masks(result: Imported) -> bool:
    return any("looks like" in note for note in result.notes)


def _reading(path: Path, options: ImportOptions) -> Generator[None, None, Imported]:
    yield None
    result = import_annotations(path, options)
    yield None
    return result


def _writing(result: Imported, folder: Path) -> Generator[None, None, None]:
    steps = write_training_folder(result, folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            if end.value.failed:
                name, text = end.value.failed[0]
                count = counted(len(end.value.failed), "image")
                raise AnnotationError(f"{count} of the import could not be written, first {name}: {text}") from None
            return
        yield None

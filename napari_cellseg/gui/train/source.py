"""The first part of *Train*: the choice of data, its contents, and its problems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_cellseg.errors import CellSegError
from napari_cellseg.formats.label_images import class_files
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.preferences import recall
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import ERROR, WARNING, small_label
from napari_cellseg.gui.widgets.elided import ElidedComboBox
from napari_cellseg.gui.widgets.forms import tame
from napari_cellseg.images.listing import has_own_folder, list_images
from training.report import DataReport
from training.sources import Checked, DataSource, TrainData

__all__ = ["SourceBox"]

_TIPS = {
    DataSource.FOLDER: "All images of the open folder, with their class*.tif",
    DataSource.ANNOTATED: "Only images with class*.tif or with reviewed cells, as Review shows them",
    DataSource.OTHER: "Another training folder, or a COCO data set",
}
_SHOWN_PROBLEMS = 200
_LIST_HEIGHT = 84


class SourceBox(QWidget):
    """Shows the result of the data check; ``choice``, shown elsewhere, selects the data.

    Parameters
    ----------
    state : AppState
    opener : Opener
        Shows the image of a problem.
    """

    changed = Signal()
    """Emitted when `data` is replaced."""

    def __init__(self, state: AppState, opener: Opener) -> None:
        super().__init__()
        self._state, self.opener = state, opener
        self._other: Path | None = None
        self.choice = ElidedComboBox()
        tame(self.choice)
        self.choice.setAccessibleName("Images")
        self.choice.activated.connect(self._on_choice)
        self.counts = small_label()
        self.problems = QListWidget()
        self.problems.setAccessibleName("Problems of the data")
        self.problems.setWordWrap(True)
        self.problems.itemClicked.connect(self._go_to)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.counts)
        column.addWidget(self.problems)
        self.show_workspace()

    def data(self) -> TrainData | None:
        """Return the chosen data; None when there is none."""
        source, workspace = self.choice.currentData(), self._state.workspace
        if source is DataSource.OTHER:
            return None if self._other is None else TrainData.of_path(self._other)
        if workspace is None:
            return None
        project = workspace.project
        return TrainData.of_folder(project) if source is DataSource.FOLDER else TrainData.of_annotated(project)

    def choose(self, source: DataSource, path: Path | None = None) -> None:
        """Choose where the images come from; ``path`` is for OTHER."""
        if path is not None:
            self._other = path
        self.choice.setCurrentIndex(max(0, self.choice.findData(source)))
        self.show_nothing()
        self.changed.emit()

    def show_workspace(self) -> None:
        """Offer what the open folder allows: its label images if every image has them."""
        workspace = self._state.workspace
        folder = None if workspace is None else TrainData.of_folder(workspace.project)
        name = "" if workspace is None else workspace.project.folder.name
        names = {} if workspace is None else {DataSource.ANNOTATED: f"annotated images of {name}"}
        if workspace is not None and folder is not None:
            names = {DataSource.FOLDER: f"this folder: {name}", **names}
        names[DataSource.OTHER] = DataSource.OTHER.value
        self.choice.clear()
        for source, name in names.items():
            self.choice.addItem(name, source)
            self.choice.setItemData(self.choice.count() - 1, _TIPS[source], Qt.ItemDataRole.ToolTipRole)
        if workspace is not None and folder is not None and not _all_labelled(folder.path):
            self.choice.setCurrentIndex(self.choice.findData(DataSource.ANNOTATED))
        self.show_nothing()

    def show_nothing(self) -> None:
        """Clear the results of other data."""
        data = self.data()
        self.counts.setStyleSheet("")
        self.counts.setText("Open a folder of annotated images, or choose other data." if data is None else "")
        self.counts.setVisible(data is None)
        self.problems.hide()

    def show_checked(self, checked: Checked) -> None:
        """Show numbers and problems."""
        self.counts.setStyleSheet("")
        self.counts.setText(_counts(checked.report, len(checked.unwritten)))
        self.counts.show()
        self.problems.clear()
        for problem in checked.report.problems[:_SHOWN_PROBLEMS]:
            item = QListWidgetItem(f"{'Error' if problem.level == 'error' else 'Note'}: {problem}")
            item.setForeground(QColor(ERROR if problem.level == "error" else WARNING))
            item.setData(Qt.ItemDataRole.UserRole, problem.image_id)
            item.setToolTip(f"{problem}\nClick to see the image" if problem.image_id else str(problem))
            self.problems.addItem(item)
        more = len(checked.report.problems) - _SHOWN_PROBLEMS
        if more > 0:
            self.problems.addItem(f"and {more:,} more like these")
        self.problems.setVisible(self.problems.count() > 0)
        lines = sum(self.problems.sizeHintForRow(row) for row in range(min(4, self.problems.count())))
        self.problems.setFixedHeight(min(lines + 2 * self.problems.frameWidth() + 4, _LIST_HEIGHT))

    def show_error(self, error: CellSegError) -> None:
        """Show why there is nothing to train on."""
        self.counts.setText(str(error))
        self.counts.setStyleSheet(f"color: {ERROR};")
        self.counts.show()
        self.problems.hide()

    def _on_choice(self, _row: int) -> None:
        path = None
        if self.choice.currentData() is DataSource.OTHER:
            name = QFileDialog.getExistingDirectory(self, "Train on a folder of <id>/image.tif", recall("folder"))
            path = Path(name) if name else None
            if path is None and self._other is None:
                self.choice.setCurrentIndex(0)
        self.choose(self.choice.currentData(), path)

    def _go_to(self, item: QListWidgetItem) -> None:
        image_id = item.data(Qt.ItemDataRole.UserRole)
        if image_id and any(file.image_id == image_id for file in self._state.images):
            self.opener.show(image_id)


def _all_labelled(folder: Path) -> bool:
    try:
        files = [file for file in list_images(folder) if has_own_folder(file.path)]
        return all(class_files(file.path.parent) for file in files)
    except CellSegError:  # reported when the data is checked
        return False


def _counts(report: DataReport, unwritten: int) -> str:
    """Return "27 images, 15,555 cells: other 371, ..."; and what the check found out besides."""
    cells = report.cells.tolist()
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(report.classes.names, cells, strict=True))
    images = len(report.images)
    lines = [f"{images:,} {'image' if images == 1 else 'images'}, {sum(cells):,} cells: {classes}."]
    if len(report.sides):
        lines.append(f"A cell is about {np.median(report.sides):.0f} px wide.")
    without = sum(not image.cells.any() for image in report.images)
    if without:
        lines.append(f"{without:,} without a cell: the model learns from them what is not a cell.")
    if unwritten:
        lines.append(
            f"{unwritten:,} {'image has' if unwritten == 1 else 'images have'} corrections that are not in class*.tif "
            "yet; Train asks whether to write them."
        )
    return " ".join(lines)

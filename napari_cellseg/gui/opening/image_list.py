"""`ImageList`: the images of the open folder with their cells and how far their review is; the model and its view."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.state import AppState
from napari_cellseg.images.listing import ImageFile
from napari_cellseg.workspace import ImageSummary

__all__ = ["ImageList", "ImageModel", "status_text"]

_COLUMNS = ("Image", "Cells", "Review")
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def status_text(summary: ImageSummary | None) -> str:
    """Say how far the review of an image is."""
    if summary is None or not summary.progress.total:
        return "-" if summary is None or summary.saved_at is None else "no cells"
    reviewed, total = summary.progress.reviewed, summary.progress.total
    if reviewed:
        return "done" if reviewed == total else f"{reviewed} / {total}"
    return "given" if summary.progress.given == total else "predicted"


def _part_read(file: ImageFile) -> str:
    """Return which plane of a stack was chosen for an image, in brackets."""
    plane = None if file.reading is None else file.reading.plane
    if plane is None or file.plane is not None:  # its id has the plane
        return ""
    return f"  (plane {plane})" if isinstance(plane, int) else f"  ({plane} of planes)"


class ImageModel(QAbstractTableModel):
    """One row an image; asks only for what is on the screen, so that 10,000 images are no problem."""

    def __init__(self, state: AppState, opener: Opener, parent: QObject) -> None:
        super().__init__(parent)
        self._state = state
        self._opener = opener
        self._rows: dict[str, int] = {}
        state.workspace_changed.connect(self.reset)
        opener.summaries.changed.connect(self.reset)
        state.status_changed.connect(self._on_status)
        state.current_changed.connect(self._on_current)
        self.reset()

    def reset(self) -> None:
        """Show another folder."""
        self.beginResetModel()
        self._rows = {file.image_id: row for row, file in enumerate(self._state.images)}
        self.endResetModel()

    def row_of(self, image_id: str) -> int | None:
        """Return the row of an image."""
        return self._rows.get(image_id)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, D102
        return len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, D102
        return len(_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if section == 0 else _RIGHT
        return _COLUMNS[section] if role == Qt.ItemDataRole.DisplayRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        file = self._state.images[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            text = self._text(file.image_id, index.column())
            return text if index.column() else text + _part_read(file)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._opener.summaries.problems.get(file.image_id) or f"{file.path}\n{self._note(file)}".strip()
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() > 0:
            return _RIGHT
        return None

    def _text(self, image_id: str, column: int) -> str:
        summary = self._opener.summaries.of.get(image_id)
        if column == 0:
            workspace = self._state.workspace
            return f"{image_id} *" if workspace is not None and workspace.is_modified(image_id) else image_id
        if column == 1:
            return "-" if summary is None else f"{summary.total:,}"
        problem = self._opener.summaries.problems.get(image_id)
        if problem:  # the tooltip has the reason
            return "unreadable" if problem.startswith("Cannot read") else "failed"
        pq = self._opener.summaries.quality.get(image_id)
        marks = ["note"] if summary is not None and summary.about.note else []
        marks += ["unsure"] if summary is not None and summary.about.unsure else []
        return ", ".join([status_text(summary), *([] if pq is None else [f"PQ {pq:.2f}"]), *marks])

    def _note(self, file: ImageFile) -> str:
        """Return the flag and note of an image."""
        summary = self._opener.summaries.of.get(file.image_id)
        return "" if summary is None else summary.about.line

    def _on_status(self, image_id: str) -> None:
        row = self.row_of(image_id)
        if row is not None:
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(_COLUMNS) - 1))

    def _on_current(self) -> None:
        if self._state.image_id is not None:
            self._on_status(self._state.image_id)


class ImageList(QTableView):
    """The list; a click, or Enter on a row, opens the image."""

    def __init__(self, state: AppState, opener: Opener) -> None:
        super().__init__()
        self._state = state
        self._opener = opener
        self._images = ImageModel(state, opener, self)
        self.setModel(self._images)
        self.setAccessibleName("Images")
        self.setTabKeyNavigation(False)  # arrows move in it, Tab leaves it
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setAlternatingRowColors(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        header = self.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        header.setHighlightSections(False)
        self.setMinimumHeight(110)
        self.clicked.connect(self._open)
        self.activated.connect(self._open)
        state.current_changed.connect(self._mark_current)
        self._mark_current()

    def _open(self, index: QModelIndex) -> None:
        self._opener.show(self._state.images[index.row()].image_id)
        self._mark_current()  # the answer may have been to stay

    def _mark_current(self) -> None:
        row = None if self._state.image_id is None else self._images.row_of(self._state.image_id)
        if row is not None:
            self.selectRow(row)
            self.scrollTo(self._images.index(row, 0))

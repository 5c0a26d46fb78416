"""The table of *Models*: one row per model file, sortable, with names that can be edited in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_cellseg.images.listing import natural_key
from napari_cellseg.model.library import ModelEntry

__all__ = ["ModelTable", "date_text", "size_text"]

_ARROW_PX = 12
"""Of the heading that the table is sorted by."""
_COLUMNS = ("Name", "From", "AP50", "PQ", "Cells", "Classes", "Date", "Size", "Data")
_NUMBERS = {2, 3, 4, 5, 7}
_TIPS = (
    "F2 or a double click renames the model",
    "bundled with the program, your own run, or imported",
    "Average precision at an intersection over union of 0.5, mean over the classes, on validation images",
    "Panoptic quality, mean over the classes, on validation images",
    "Validation cells that AP50 and PQ were measured on; - if the file does not state them",
    "Number of classes",
    "When it was made",
    "Of the file",
    "What it was trained on",
)


def size_text(size_bytes: int) -> str:
    """Return a size in KiB or MiB."""
    return f"{size_bytes / 2**20:.1f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.0f} KiB"


def date_text(iso: str) -> str:
    """Return an ISO 8601 date as local day and minute; any other text unchanged."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return iso


class _Models(QAbstractTableModel):
    """The models of the library, one row each."""

    renamed = Signal(object, str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.entries: tuple[ModelEntry, ...] = ()

    def show(self, entries: Sequence[ModelEntry]) -> None:
        self.beginResetModel()
        self.entries = tuple(entries)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002
        return len(self.entries)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002
        return len(_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.ToolTipRole:
            return _TIPS[section]
        return _COLUMNS[section] if role == Qt.ItemDataRole.DisplayRole else None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
        is_own = self.entries[index.row()].origin != "bundled"
        return flags | Qt.ItemFlag.ItemIsEditable if is_own and index.column() == 0 else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        entry, column = self.entries[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._texts(entry)[column]
        if role == Qt.ItemDataRole.EditRole:
            return entry.name
        if role == Qt.ItemDataRole.UserRole:
            return self._keys(entry)[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            return entry.problem or str(entry.path)
        if role == Qt.ItemDataRole.TextAlignmentRole and column in _NUMBERS:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        entry = self.entries[index.row()]
        if role == Qt.ItemDataRole.EditRole and str(value).strip() not in ("", entry.name):
            self.renamed.emit(entry, str(value))
        return False  # the library returns the new name

    def _texts(self, entry: ModelEntry) -> tuple[str, ...]:
        if entry.header is None:
            return entry.name, entry.origin, "", "", "", "", "", size_text(entry.size_bytes), "cannot be read"
        metrics = entry.metrics
        scores = tuple(f"{metrics[name]:.3f}" if name in metrics else "-" for name in ("ap50", "pq"))
        about = str(len(entry.class_names)), date_text(entry.created), size_text(entry.size_bytes), entry.data
        cells = f"{metrics['measured/cells']:,.0f}" if "measured/cells" in metrics else "-"
        return entry.name, entry.origin, *scores, cells, *about

    def _keys(self, entry: ModelEntry) -> tuple[Any, ...]:
        metrics = entry.metrics
        ap50, pq = metrics.get("ap50", -1.0), metrics.get("pq", -1.0)
        sizes = (len(entry.class_names), entry.created, entry.size_bytes)
        return entry.name, entry.origin, ap50, pq, metrics.get("measured/cells", -1.0), *sizes, entry.data


class _Sorted(QSortFilterProxyModel):
    """Sorts numbers by value and names in natural order: "run 2" before "run 10"."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        first, second = (self.sourceModel().data(index, Qt.ItemDataRole.UserRole) for index in (left, right))
        return bool(natural_key(first) < natural_key(second) if isinstance(first, str) else first < second)


class ModelTable(QTableView):
    """The table of models; emits its selection."""

    picked = Signal(object)
    """Carries the `ModelEntry` of the selected row, or None."""
    renamed = Signal(object, str)
    """Carries an entry and its new name."""

    def __init__(self) -> None:
        super().__init__()
        self._models = _Models(self)
        self._models.renamed.connect(self.renamed)
        rows = _Sorted(self)
        rows.setSourceModel(self._models)
        self.setModel(rows)
        self.setAccessibleName("Models")
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.EditKeyPressed | triggers.DoubleClicked)
        self.setTabKeyNavigation(False)  # Tab moves on to the buttons; arrows move from row to row
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.setMinimumHeight(90)
        # A method: of a lambda that holds the table, Python could not tell that nothing else does.
        self.selectionModel().currentRowChanged.connect(self._on_row)

    def _on_row(self) -> None:
        self.picked.emit(self.entry)

    @property
    def entry(self) -> ModelEntry | None:
        """Return the model of the selected row."""
        index = self.currentIndex()
        return self._models.entries[self.model().mapToSource(index).row()] if index.isValid() else None

    def show_entries(self, entries: Sequence[ModelEntry], select: Any = None) -> None:
        """Replace the rows and select the model with a path, else the first one."""
        had_columns = self._models.rowCount() > 0
        self._models.show(entries)
        rows = range(self.model().rowCount())
        paths = [entries[self.model().mapToSource(self.model().index(row, 0)).row()].path for row in rows]
        if paths:
            self.selectRow(paths.index(select) if select in paths else 0)
        if not had_columns:
            self.resizeColumnsToContents()
            for column in range(1, self.model().columnCount()):
                self.setColumnWidth(column, self.columnWidth(column) + _ARROW_PX)
            self.setColumnWidth(0, min(max(self.columnWidth(0), 110), 180))
        self.picked.emit(self.entry)

    def rename(self) -> None:
        """Edit the name of the selected row."""
        index = self.currentIndex()
        if index.isValid():
            self.setFocus()
            self.edit(self.model().index(index.row(), 0))

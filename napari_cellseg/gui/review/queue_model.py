"""The queue as Qt shows it: number, class, score and reason of the first cells, one row per cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QColor

from napari_cellseg.classes import ClassTable
from napari_cellseg.review.queue import QueueItem

__all__ = ["QueueModel"]


class QueueModel(QAbstractListModel):
    """Rows are items of the queue; `queue_rows` draws them."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._items: Sequence[QueueItem] = ()
        self._rows: dict[int, int] = {}
        self._classes = ClassTable.numbered(1)

    def show(self, items: Sequence[QueueItem], classes: ClassTable) -> None:
        """Show other items."""
        if items == self._items and classes == self._classes:
            return
        self.beginResetModel()
        self._items, self._classes = items, classes
        self._rows = {item.cell_id: row for row, item in enumerate(items)}
        self.endResetModel()

    def item(self, row: int) -> QueueItem:
        """Return the item of a row."""
        return self._items[row]

    def row_of(self, cell_id: int) -> int | None:
        """Return the row of a cell; None when it is not shown."""
        return self._rows.get(cell_id)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: D102
        return 0 if parent is not None and parent.isValid() else len(self._items)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        if role == Qt.ItemDataRole.DisplayRole:  # for screen readers too
            return "  ".join(filter(None, self.texts(index.row())))
        if role == Qt.ItemDataRole.ToolTipRole:
            *first, reason = self.texts(index.row())
            return "\n".join(filter(None, ("  ".join(filter(None, first)), reason)))
        return None

    def texts(self, row: int) -> tuple[str, str, str, str]:
        """Return number, class, score and reason of an item; a missed one has no number and no score."""
        item = self._items[row]
        number, score = ("new?", "") if item.is_missed else (f"#{item.cell_id}", f"{item.score:.2f}")
        return number, self._classes.name(item.class_id), score, item.text or "nothing unusual"

    def colour(self, row: int) -> QColor:
        """Return the colour of the class of an item."""
        return QColor(self._classes.colour(self._items[row].class_id))

"""The queue as Qt shows it: number, class, score and reason of the first cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor

from napari_cellseg.classes import ClassTable
from napari_cellseg.review.queue import QueueItem

__all__ = ["QueueModel"]


class QueueModel(QAbstractTableModel):
    """Rows are items of the queue; columns their number with the colour of the class, class, score and reason."""

    def __init__(self) -> None:
        super().__init__()
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

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, D102
        return 4

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        item, column = self._items[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(item, column)
        if role == Qt.ItemDataRole.DecorationRole and column == 0:
            return QColor(self._classes.colour(item.class_id))
        if role == Qt.ItemDataRole.ToolTipRole:
            return "  ".join(filter(None, (self._text(item, i) for i in range(4))))
        if role == Qt.ItemDataRole.TextAlignmentRole and column == 2:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def _text(self, item: QueueItem, column: int) -> str:
        if column == 0:
            return f"#{item.cell_id}" if item.cell_id else "new?"
        if column == 1:
            return self._classes.name(item.class_id)
        if column == 2:
            return f"{item.score:.2f}" if item.cell_id else ""
        return item.text

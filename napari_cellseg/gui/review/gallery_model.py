"""The cells of the gallery: which, in which order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Any

from qtpy.QtCore import QAbstractListModel, QMimeData, QModelIndex, QObject, Qt

from napari_cellseg.gui.canvas.features import ShownCells, cell_line
from napari_cellseg.gui.canvas.thumbnails import Thumbnails
from napari_cellseg.review import Cell

__all__ = ["CELL_MIME", "PAGE", "GalleryModel", "GallerySort"]

PAGE = 100
CELL_MIME = "application/x-cellseg-cell-ids"


class GallerySort(Enum):
    """What comes first in the gallery."""

    SCORE = "lowest score"
    SCORE_DOWN = "highest score"
    AMBIGUITY = "most doubtful"
    SMALLEST = "smallest"
    LARGEST = "largest"


class GalleryModel(QAbstractListModel):
    """One page of thumbnails; each is drawn only when it is seen."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._session: ShownCells | None = None
        self._thumbnails: Thumbnails | None = None
        self._all: list[int] = []
        self._ids: list[int] = []
        self._rows: dict[int, int] = {}
        self.page = 0

    # ---- what is shown ----

    def open(self, session: ShownCells | None, thumbnails: Thumbnails | None) -> None:
        """Show another image."""
        self._session, self._thumbnails = session, thumbnails
        self.arrange(None, GallerySort.SCORE, lambda cell: cell.score)

    def arrange(
        self,
        class_id: int | None,
        sort: GallerySort,
        doubt: Callable[[Cell], float],
        only: Collection[int] | None = None,
    ) -> None:
        """Show the cells of a class, or all, from the first page; ``only`` these ids."""
        cells: list[Cell] = []
        if self._session is not None:
            cells = [cell for cell in self._session.cells.values() if self._session.is_visible(cell)]
        keys: dict[GallerySort, Callable[[Cell], Any]] = {
            GallerySort.SCORE: lambda cell: cell.score,
            GallerySort.SCORE_DOWN: lambda cell: -cell.score,
            GallerySort.AMBIGUITY: lambda cell: -doubt(cell),
            GallerySort.SMALLEST: lambda cell: cell.area,
            GallerySort.LARGEST: lambda cell: -cell.area,
        }
        chosen = [
            cell for cell in cells if class_id in (None, cell.class_id) and (only is None or cell.cell_id in only)
        ]
        self._all = [cell.cell_id for cell in sorted(chosen, key=lambda cell: (keys[sort](cell), cell.cell_id))]
        self.turn_to(0)

    def turn_to(self, page: int) -> None:
        """Show another page, 0 is the first; cells deleted meanwhile are left out."""
        self.beginResetModel()
        cells = {} if self._session is None else self._session.cells
        self._all = [i for i in self._all if i in cells]
        self.page = min(max(page, 0), self.pages - 1)
        self._ids = self._all[self.page * PAGE : (self.page + 1) * PAGE]
        self._rows = {cell_id: row for row, cell_id in enumerate(self._ids)}
        self.endResetModel()

    @property
    def pages(self) -> int:
        """Number of pages, at least 1."""
        return max(-(-len(self._all) // PAGE), 1)

    @property
    def count(self) -> int:
        """Number of cells on all pages."""
        return len(self._all)

    def look_again(self, cell_ids: Sequence[int]) -> bool:
        """Redraw cells that changed; return False if the page must be rebuilt because cells came or went."""
        cells = {} if self._session is None else self._session.cells
        for cell_id in cell_ids:
            row = self._rows.get(cell_id)
            if row is not None and cell_id not in cells:
                return False
            if row is not None:
                self.dataChanged.emit(self.index(row), self.index(row))
        return all(i in self._rows or i not in cells or cells[i].status.value != "edited" for i in cell_ids)

    def cell_id(self, index: QModelIndex) -> int:
        """Return the cell of a row."""
        row: int = index.row()
        return self._ids[row]

    def page_of(self, cell_id: int) -> int | None:
        """Return the page that a cell is on; None when it is not in the gallery."""
        try:
            return self._all.index(cell_id) // PAGE
        except ValueError:
            return None

    def row_of(self, cell_id: int) -> int | None:
        """Return the row of a cell on this page."""
        return self._rows.get(cell_id)

    # ---- Qt's side ----

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: D102
        return 0 if parent is not None and parent.isValid() else len(self._ids)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        session, cell_id = self._session, self._ids[index.row()]
        cell = None if session is None else session.cells.get(cell_id)
        if cell is None or session is None:
            return None
        if role == Qt.ItemDataRole.DecorationRole and self._thumbnails is not None:
            return self._thumbnails.picture(cell, session.classes.colour(cell.class_id))
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{cell.score:.2f}{'' if not cell.reviewed else ' ✓' if session.is_visible(cell) else ' ✗'}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return cell_line(session, cell_id)
        return None

    def flags(self, index: QModelIndex) -> Any:  # noqa: D102
        return super().flags(index) | Qt.ItemFlag.ItemIsDragEnabled

    def mimeTypes(self) -> list[str]:  # noqa: D102
        return [CELL_MIME]

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:  # noqa: D102
        data = QMimeData()
        data.setData(CELL_MIME, ",".join(str(self._ids[index.row()]) for index in indexes).encode())
        return data

"""The table of cells: one row a cell, sorted and filtered as arrays, so that 20,000 rows cost no more than 20."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QColor

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import measure
from napari_cellseg.review import Cell

__all__ = ["CellTable", "Column", "cell_columns", "column_title", "measured_columns", "slide_columns"]

Column = npt.NDArray[Any]
_BATCH = 500
_UNITS = {"px": "px", "um": "\u00b5m", "um2": "\u00b5m\u00b2"}
_TITLES = {
    "cell_id": "Cell",
    "by": "Decided by",
    "area_px": "Area (px)",
    "touches_border": "At the border",
    "major_axis_px": "Long axis (px)",
    "minor_axis_px": "Short axis (px)",
    "major_axis_um": "Long axis (\u00b5m)",
    "minor_axis_um": "Short axis (\u00b5m)",
    "centroid_x_px": "Centre x (px)",
    "centroid_y_px": "Centre y (px)",
    "mean_red": "Mean red (0-255)",
    "mean_green": "Mean green (0-255)",
    "mean_blue": "Mean blue (0-255)",
    "mean_grey": "Mean grey (0-255)",
}


def column_title(name: str) -> str:
    """Return the heading of a column, in words with its unit: "Perimeter (px)" for ``perimeter_px``."""
    if name in _TITLES:
        return _TITLES[name]
    words, _, unit = name.rpartition("_")
    title = f"{words} ({_UNITS[unit]})" if unit in _UNITS else name
    return (title[:1].upper() + title[1:]).replace("_", " ")


def cell_columns(classes: ClassTable, cells: Sequence[Cell]) -> dict[str, Column]:
    """Return what is known of each cell without measuring: (N,) columns."""
    return {
        "cell_id": np.array([cell.cell_id for cell in cells], np.int64),
        "class": np.array([classes.name(cell.class_id) for cell in cells], object),
        "score": np.array([cell.score for cell in cells], float).round(3),
        "status": np.array([cell.status.value for cell in cells], object),
        "by": np.array([cell.by for cell in cells], object),
        "unsure": np.array(["unsure" if cell.unsure else "" for cell in cells], object),
        "note": np.array([cell.note for cell in cells], object),
    }


def slide_columns(classes: ClassTable, cells: Sequence[Cell], factor: float) -> dict[str, Column]:
    """Return what a table shows of cells of a slide: (N,) columns, lengths in px of the slide.

    Parameters
    ----------
    classes : ClassTable
    cells : sequence of Cell
    factor : float
        Side of a pixel of the masks, px of the slide.
    """
    known = cell_columns(classes, cells)
    centres = np.array([cell.centre for cell in cells], float).reshape(-1, 2)
    return {
        **{name: known[name] for name in ("cell_id", "class", "score", "status")},
        "area_px": (np.array([cell.area for cell in cells], float) * factor**2).round().astype(np.int64),
        "centroid_x_px": ((centres[:, 1] + 0.5) * factor - 0.5).round(1),
        "centroid_y_px": ((centres[:, 0] + 0.5) * factor - 0.5).round(1),
    }


def measured_columns(
    ids: Column,
    instances: InstanceMasks,
    rgb: npt.NDArray[np.uint8] | None,
    pixel_size_um: float | None,
) -> Generator[None, None, tuple[Column, dict[str, Column]]]:
    """Measure cells, some at a time; returns ``ids`` and the columns of `measure`.

    For a worker: ``instances`` and ``ids`` are of one moment.
    """
    parts = []
    for start in range(0, max(len(instances), 1), _BATCH):
        yield
        parts.append(
            measure(instances.select(np.arange(start, min(start + _BATCH, len(instances)))), rgb, pixel_size_um)
        )
    return ids, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class CellTable(QAbstractTableModel):
    """Columns of all cells and the order of the rows shown.

    Attributes
    ----------
    columns : dict of name to (N,) array
        The first is ``cell_id``.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.columns: dict[str, Column] = {}
        self._names: list[str] = []
        self._order: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._row_of: dict[int, int] = {}
        self._place_of: dict[int, int] = {}
        self._filter = ""
        self._sort: tuple[int, bool] | None = None
        self._colours: dict[str, str] = {}

    def show(self, columns: dict[str, Column], colours: dict[str, str]) -> None:
        """Show other columns, sorted and filtered as before; ``colours`` by class name."""
        names = list(columns)
        self.beginResetModel()
        self.columns, self._names, self._colours = columns, names, colours
        self._place_of = {cell_id: place for place, cell_id in enumerate(columns.get("cell_id", np.zeros(0)).tolist())}
        self._arrange()
        self.endResetModel()

    def update_cells(self, changed: dict[str, Column]) -> None:
        """Put other values in the rows of some cells, in place: none comes, none goes."""
        where = [self._place_of[i] for i in changed["cell_id"].tolist()]
        for name, values in changed.items():
            self.columns[name][where] = values
        if self._order.size:
            last = self.index(len(self._order) - 1, len(self._names) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def set_filter(self, text: str) -> None:
        """Show only cells whose number is this, or whose class, status, author, flag or note holds this text."""
        self._filter = text.strip().lower().lstrip("#")
        self.beginResetModel()
        self._arrange()
        self.endResetModel()

    def cell_id(self, row: int) -> int:
        """Return the cell of a row."""
        return int(self.columns["cell_id"][self._order[row]])

    def row_of(self, cell_id: int) -> int | None:
        """Return the row of a cell; None when it is not shown."""
        return self._row_of.get(cell_id)

    def shown_columns(self, rows: Sequence[int] | None = None) -> dict[str, Column]:
        """Return the columns as they are shown, of all rows or some."""
        order = self._order if rows is None else self._order[np.asarray(rows, np.intp)]
        return {name: values[order] for name, values in self.columns.items()}

    def _arrange(self) -> None:
        count = len(self.columns.get("cell_id", ()))
        order = np.arange(count)
        if self._sort is not None and self._sort[0] < len(self._names):
            values = self.columns[self._names[self._sort[0]]]
            order = np.argsort(values.astype(str) if values.dtype == object else values, kind="stable")
            order = order if self._sort[1] else order[::-1]
        if self._filter and count:
            wanted = np.zeros(count, bool)
            for name in {"class", "status", "by", "unsure", "note"} & self.columns.keys():
                unique, inverse = np.unique(self.columns[name].astype(str), return_inverse=True)
                wanted |= np.array([self._filter in value.lower() for value in unique.tolist()])[inverse]
            if self._filter.isdecimal():
                wanted |= self.columns["cell_id"] == int(self._filter)
            order = order[wanted[order]]
        self._order = order
        ids = self.columns["cell_id"][order].tolist() if count else []
        self._row_of = {cell_id: row for row, cell_id in enumerate(ids)}

    # ---- Qt's side ----

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: D102
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: ARG002, D102
        return len(self._names)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        name = self._names[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(self.columns[name][self._order[index.row()]])
        if role == Qt.ItemDataRole.DecorationRole and name == "class":
            return QColor(self._colours.get(self.columns[name][self._order[index.row()]], "#999999"))
        if role == Qt.ItemDataRole.TextAlignmentRole and self.columns[name].dtype != object:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(  # noqa: D102
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        name = self._names[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column_title(name)
        return f"{name} in files" if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:  # noqa: D102
        self.layoutAboutToBeChanged.emit()
        self._sort = (column, order == Qt.SortOrder.AscendingOrder) if column >= 0 else None
        self._arrange()
        self.layoutChanged.emit()


def _text(value: Any) -> str:
    if isinstance(value, (np.floating, float)):
        return f"{value:.3f}" if abs(float(value)) < 10 else f"{value:.1f}"
    if isinstance(value, np.bool_):
        return "yes" if value else "no"
    return str(value)

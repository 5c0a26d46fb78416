"""The *Table* dock: all cells with their measurements, to sort, filter, jump to, copy and export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QItemSelection, QItemSelectionModel, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QTableView,
    QVBoxLayout,
)

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.review.keys import add_dock_keys
from napari_cellseg.gui.review.rows import button
from napari_cellseg.gui.review.table_model import CellTable, Column, cell_columns, measured_columns, slide_columns
from napari_cellseg.gui.slides.cell_list import SlideList
from napari_cellseg.gui.slides.slide_view import SlideView
from napari_cellseg.gui.slides.words import TABLE_MORE
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.bottom_dock import BottomDock
from napari_cellseg.gui.widgets.dock import explain, small_label
from napari_cellseg.gui.widgets.notify import show_error, show_info
from napari_cellseg.measure import write_csv
from napari_cellseg.review import Cell, Change, ReviewSession

__all__ = ["TableDock"]

_MEASURE_DELAY_MS = 1500
"""Cells are measured again when the hand rests."""
_ARROW_PX = 12
_NO_ROWS = "No cell is shown."


class TableDock(BottomDock):
    """One row a cell; the rows selected are the cells selected on the canvas."""

    def __init__(self, state: AppState, layers: ClassLayers, review: ReviewActions, slides: SlideView) -> None:
        super().__init__(state)
        self.layers, self.review = layers, review
        self.of_slide = SlideList(state, slides, review.slide, self)
        review.queue.begin()
        add_dock_keys(self, review)
        self.model = CellTable(self)
        self._measured: tuple[Column, dict[str, Column]] | None = None
        self._measured_session: ReviewSession | None = None
        self._is_linking = False
        self._job = Job(self.state, "measuring cells")
        self._job.end_with(self, show_error)
        self._measuring: ReviewSession | None = None
        self._job.finished.connect(self._on_measured)
        self._job.changed.connect(self._show_state)
        self._build()
        self._measure_later, self._rows_later = QTimer(self), QTimer(self)
        for timer, call in ((self._measure_later, self._measure), (self._rows_later, self.show_cells)):
            timer.setSingleShot(True)
            timer.timeout.connect(call)
        self.state.current_changed.connect(self._on_current)
        self.state.selection_changed.connect(self._on_selection)
        self.layers.session_changed.connect(self._on_change)
        self.of_slide.changed.connect(self.show_cells)
        review.slide.changed.connect(self._on_selection)
        self._on_current()

    def _build(self) -> None:
        self.filter_text = QLineEdit()
        self.filter_text.setAccessibleName("Filter of the cells")
        self.filter_text.setPlaceholderText("Filter: class, status or #number")
        self.filter_text.setClearButtonEnabled(True)
        self.filter_text.setToolTip("Filter: class, status or #number")
        self.filter_text.setMaximumWidth(300)
        self.filter_text.textChanged.connect(self._on_filter)
        self._state = QLabel()
        self._copy = button("Copy", self.copy, "The selected rows, or all, as text with tabs (Ctrl+C)")
        self._export = button("Export CSV...", self._on_export, "The rows shown, with all columns")
        for made in (self._copy, self._export):
            made.setMaximumWidth(110)
        self.view = QTableView()
        self.view.setAccessibleName("Cells")
        self.view.setTabKeyNavigation(False)  # arrows move in it, Tab leaves it
        self.view.setModel(self.model)
        self.view.setSortingEnabled(True)
        self.view.horizontalHeader().setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        self.view.horizontalHeader().setHighlightSections(False)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setWordWrap(False)
        rows = self.view.verticalHeader()
        rows.setVisible(False)
        rows.setSectionResizeMode(rows.ResizeMode.Fixed)  # else Qt asks every row for its height
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.view.selectionModel().selectionChanged.connect(self._on_picked)
        copy = QShortcut(QKeySequence.StandardKey.Copy, self.view)
        copy.setContext(Qt.ShortcutContext.WidgetShortcut)
        copy.activated.connect(self.copy)
        bar = QHBoxLayout()
        bar.addWidget(self.filter_text, 2)
        bar.addWidget(self._state)
        bar.addStretch(1)
        for widget in (self._copy, self._export):
            bar.addWidget(widget)
        self.on_slide = small_label()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.setSpacing(4)
        layout.addLayout(bar)
        layout.addWidget(self.on_slide)
        layout.addWidget(self.view, 1)

    def showEvent(self, event: Any) -> None:  # noqa: D102
        super().showEvent(event)
        self.of_slide.refresh()

    # ---- for the user ----

    def copy(self) -> None:
        """Put the selected rows, or all, on the clipboard, with tabs between the columns."""
        picked = [index.row() for index in self.view.selectionModel().selectedRows()]
        columns = self.model.shown_columns(picked or None)
        lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText("\n".join(lines))

    def export(self, path: Path) -> None:
        """Write the rows shown to a CSV file.

        Raises
        ------
        ExportError
            It cannot be written.
        """
        write_csv(path, self.model.shown_columns())

    # ---- rows ----

    def _on_current(self) -> None:
        self._measured = None
        self._job.stop()
        self.show_cells()
        if self.state.session is not None:
            self._measure_later.start(0 if self.isVisible() else _MEASURE_DELAY_MS)

    def show_cells(self) -> None:
        """Show the cells of the current image as they are now."""
        session, of_slide = self.state.session, self.of_slide
        self._rows_later.stop()
        columns: dict[str, Column] = {}
        classes = self.state.classes if session is None else session.classes
        if session is not None:
            columns = cell_columns(classes, _shown(session)) | self._measurements(session)
        elif of_slide.cells:
            columns = slide_columns(classes, list(of_slide.cells.values()), of_slide.factor)
        modes = QAbstractItemView.SelectionMode  # on a slide a key decides about one cell
        self.view.setSelectionMode(modes.SingleSelection if session is None else modes.ExtendedSelection)
        self.on_slide.setText(f"{of_slide.text} {TABLE_MORE}")
        self.on_slide.setVisible(bool(of_slide.text))
        colours = dict(zip(classes.names, classes.colours, strict=True))
        same = list(columns) == list(self.model.columns)
        self.model.show(columns, colours)
        if not same:
            self._fit_columns()
        self._on_selection()
        self._show_state()

    def _fit_columns(self) -> None:
        """Make each column as wide as its heading, with the arrow of the sorting, and its values."""
        self.view.resizeColumnsToContents()
        head = self.view.horizontalHeader()
        for column in range(self.model.columnCount()):
            head.resizeSection(column, max(head.sectionSize(column), head.sectionSizeHint(column)) + _ARROW_PX)

    def _measurements(self, session: ReviewSession) -> dict[str, Column]:
        """Return what was measured, NaN for cells that came later."""
        if self._measured is None or self._measured_session is not session:
            return {}
        ids, measured = self._measured
        wanted = np.array([cell.cell_id for cell in _shown(session)], np.int64)
        place = np.searchsorted(ids, wanted)
        known = (place < len(ids)) & (ids[np.minimum(place, len(ids) - 1)] == wanted) if len(ids) else place < 0
        columns = {}
        for name, values in measured.items():
            column = np.full(len(wanted), np.nan, float)
            column[known] = values[place[known]]
            columns[name] = column if values.dtype.kind == "f" or not known.all() else column.astype(values.dtype)
        return columns

    def _on_change(self, change: Change) -> None:
        session = self.state.session
        if session is None:
            return
        kept = [session.cells[i] for i in change.cell_ids if self._keeps_row(session, i)]
        if len(kept) == len(change.cell_ids) and len(kept) < 500:
            self.model.update_cells(cell_columns(session.classes, kept))
            self._show_state()
        else:
            self._rows_later.start(150)
        if change.boxes:
            self._measure_later.start(_MEASURE_DELAY_MS)

    def _keeps_row(self, session: ReviewSession, cell_id: int) -> bool:
        cell = session.cells.get(cell_id)
        return cell is not None and session.is_visible(cell) and self.model.row_of(cell_id) is not None

    def _on_filter(self, text: str) -> None:
        self.model.set_filter(text)
        self._on_selection()
        self._show_state()

    def _show_state(self) -> None:
        shown, total = self.model.rowCount(), len(self.model.columns.get("cell_id", ()))
        text = f"{total:,} cells" if shown == total else f"{shown:,} of {total:,} cells"
        self._state.setText(f"{text}, measuring..." if self._job.is_busy else text)
        explain(self._copy, None if shown else _NO_ROWS, "The selected rows, or all, as text with tabs (Ctrl+C)")
        explain(self._export, None if shown else _NO_ROWS, "The rows shown, with all columns")

    # ---- measuring ----

    def _measure(self) -> None:
        session, image = self.state.session, self.state.image
        self._measure_later.stop()
        if session is not None:
            snapshot = session.instances()
            ids = np.array([cell.cell_id for cell in _shown(session)], np.int64)
            rgb = None if image is None else image.rgb()
            size = None if image is None else image.pixel_size_um
            self._measuring = session
            self._job.start(partial(measured_columns, ids, snapshot, rgb, size))

    def _on_measured(self, result: tuple[Column, dict[str, Column]]) -> None:
        ids, columns = result
        session = self._measuring  # a job reports only its last run
        if session is not None and session is self.state.session:
            self._measured_session, self._measured = session, (ids, columns)
            self.show_cells()

    # ---- linked selection ----

    def _on_selection(self) -> None:
        if self._is_linking:
            return
        chosen = QItemSelection()
        of_slide = self.review.slide.selected
        selected = self.state.selection if of_slide is None else (of_slide.id,)
        rows = sorted(row for row in map(self.model.row_of, selected) if row is not None)
        last = self.model.columnCount() - 1
        for row in rows:
            chosen.select(self.model.index(row, 0), self.model.index(row, last))
        flags = QItemSelectionModel.SelectionFlag
        self._is_linking = True
        self.view.selectionModel().select(chosen, flags.ClearAndSelect)
        if rows:
            self.view.scrollTo(self.model.index(rows[0], 0))
        self._is_linking = False

    def _on_picked(self) -> None:
        if self._is_linking:
            return
        ids = [self.model.cell_id(index.row()) for index in self.view.selectionModel().selectedRows()]
        self._is_linking = True
        if self.state.slide is not None:
            if ids:
                self.of_slide.go_to(ids[-1])
        elif len(ids) == 1:
            self.review.show_cell(ids[0])
        else:
            self.state.select(ids)
        self._is_linking = False

    def _on_export(self) -> None:
        start = "" if self.state.image_id is None else f"{self.state.image_id.replace('/', '_')}.csv"
        path, _ = QFileDialog.getSaveFileName(self, "Export the table", start, "CSV (*.csv)")
        if path:
            try:
                self.export(Path(path))
            except CellSegError as error:
                show_error(error, self.window())
            else:
                show_info(f"{self.model.rowCount():,} cells written to {path}.")


def _shown(session: ReviewSession) -> list[Cell]:
    return [cell for _, cell in sorted(session.cells.items()) if session.is_visible(cell)]

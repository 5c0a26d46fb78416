"""The lists of *Batch*: failed images with the reason, and images to review next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_cellseg.active_learning import ImageGain

__all__ = ["FailureList", "GainList", "RowList"]

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class RowList(QTreeWidget):
    """A list with one row per image; a double click or Enter requests the image.

    Parameters
    ----------
    name : str
        For screen readers.
    titles : sequence of str
        Of the columns; the first is the image, the last one stretches.
    most_rows : int
        Rows visible without scrolling.
    """

    wanted = Signal(str)
    """The image_id of a row."""
    why = Signal(str)
    """The full last text of the selected row, which may not fit its column."""

    def __init__(self, name: str, titles: Sequence[str], most_rows: int) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._most_rows = most_rows
        self.setHeaderLabels(list(titles))
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setAllColumnsShowFocus(True)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header = self.header()
        header.setStretchLastSection(True)
        header.setSectionsMovable(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.currentItemChanged.connect(self._tell_why)
        self.itemDoubleClicked.connect(self._ask)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        item = self.currentItem()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self._ask(item)
        else:
            super().keyPressEvent(event)

    def _ask(self, item: QTreeWidgetItem) -> None:
        self.wanted.emit(item.data(0, Qt.ItemDataRole.UserRole))

    def show_rows(self, rows: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Replace the rows, (image_id, texts); the tooltip of each field is its full text."""
        self.clear()
        for image_id, texts in rows:
            item = QTreeWidgetItem(list(texts))
            item.setData(0, Qt.ItemDataRole.UserRole, image_id)
            for column, text in enumerate(texts):
                item.setToolTip(column, text)
                if 0 < column < len(texts) - 1:
                    item.setTextAlignment(column, int(_RIGHT))
            self.addTopLevelItem(item)
        for column in range(self.columnCount() - 1):
            self.resizeColumnToContents(column)
            self.setColumnWidth(column, min(self.columnWidth(column), 140))
        shown = min(max(self.topLevelItemCount(), 1), self._most_rows)
        row = max(self.sizeHintForRow(0), self.fontMetrics().height() + 4)
        self.setFixedHeight(self.header().sizeHint().height() + shown * row + 2 * self.frameWidth() + 4)
        self.setCurrentItem(self.topLevelItem(0))
        self._tell_why()

    def _tell_why(self) -> None:
        item = self.currentItem()
        self.why.emit("" if item is None else f"{item.text(0)}: {item.text(self.columnCount() - 1)}")


class FailureList(RowList):
    """Image and reason."""

    def __init__(self) -> None:
        super().__init__("Failed images", ("Failed", "Why"), 4)

    def show_failures(self, failures: dict[str, str]) -> None:
        """Show the failed images; without any, the list is hidden."""
        self.show_rows((image_id, (image_id, reason)) for image_id, reason in failures.items())
        self.setVisible(bool(failures))


class GainList(RowList):
    """Image, expected gain and reason, the largest gain first."""

    def __init__(self) -> None:
        super().__init__("Images to review next", ("Image", "Gain", "Why"), 8)
        self.headerItem().setToolTip(1, "Information, in bits, expected from your decisions")

    def show_gains(self, gains: Sequence[ImageGain]) -> None:
        """Show images in their order."""
        self.show_rows((image.image_id, (image.image_id, f"{image.gain:.0f}", image.text)) for image in gains)

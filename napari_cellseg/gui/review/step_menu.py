"""`StepList`: the last steps in words, in a popup; a click on a step goes to the state after it."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPoint, QSize, Qt
from qtpy.QtGui import QColor, QFont, QGuiApplication, QPalette
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.widgets.dock import ACCENT
from napari_cellseg.review import ReviewSession

__all__ = ["StepList"]

_LISTED = 200
"""Older steps are listed once the user has gone back that far."""
_ROWS, _WIDTH_PX = 14, 300
_START = "Before all of these steps"
_BY = Qt.ItemDataRole.UserRole


class StepList(QListWidget):
    """The steps, newest first; those that were undone are grey, the present state is bold."""

    def __init__(self, do: ReviewActions, parent: QWidget) -> None:
        super().__init__(parent)
        self._do = do
        self.setWindowFlags(Qt.WindowType.Popup)
        self.setAccessibleName("Steps")
        self.setStyleSheet(f"QListWidget {{ border: 1px solid {ACCENT}; }} QListWidget::item {{ padding: 3px 6px; }}")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setUniformItemSizes(True)
        self.itemClicked.connect(self._on_item)
        self.itemActivated.connect(self._on_item)  # Enter; a platform may send both, and the list is closed then

    def open_above(self, button: QWidget) -> None:
        """Open above a button, or below if there is no room; never beyond the screen."""
        if self._do.session is None:
            return
        self._list(self._do.session)
        rows = min(max(self.count(), 2), _ROWS)
        size = QSize(_WIDTH_PX, rows * self.sizeHintForRow(0) + 2 * self.frameWidth())
        corner = button.mapToGlobal(QPoint(button.width() - size.width(), -size.height()))
        screen = QGuiApplication.screenAt(button.mapToGlobal(QPoint(0, 0))) or QGuiApplication.primaryScreen()
        area = screen.availableGeometry()
        top = corner.y() if corner.y() >= area.top() else button.mapToGlobal(QPoint(0, button.height())).y()
        left = min(max(corner.x(), area.left()), area.right() + 1 - size.width())
        self.setGeometry(left, top, size.width(), size.height())
        self.show()
        self.setFocus()
        self.scrollToItem(self.currentItem())

    def keyPressEvent(self, event: Any) -> None:  # noqa: D102
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
        else:
            super().keyPressEvent(event)

    def _list(self, session: ReviewSession) -> None:
        self.clear()
        done, undone = session.steps
        undone, older = undone[:_LISTED], done[_LISTED:]
        for by, text in reversed(list(enumerate(undone, 1))):
            self._add(text, by)
        for by, text in enumerate(done[:_LISTED]):
            self._add(text, -by)
        if not older:
            self._add(_START, -len(done))
        self.setCurrentRow(len(undone))

    def _add(self, text: str, by: int) -> None:
        item = QListWidgetItem(text[:1].upper() + text[1:])
        item.setData(_BY, by)
        item.setToolTip(f"{item.text()}\n{_tip(by)}")
        if by > 0:
            pale = QColor(self.palette().color(QPalette.ColorRole.Text))
            pale.setAlpha(120)
            item.setForeground(pale)
        elif not by:
            bold = QFont(self.font())
            bold.setWeight(QFont.Weight.DemiBold)
            item.setFont(bold)
        self.addItem(item)

    def _on_item(self, item: QListWidgetItem) -> None:
        if self.isVisible():
            self.hide()
            if by := int(item.data(_BY)):
                self._do.go_by(by)


def _tip(by: int) -> str:
    if not by:
        return "The present state"
    count = f"{abs(by)} step{'s' if abs(by) > 1 else ''}"
    return f"Redo {count}" if by > 0 else f"Undo {count}"

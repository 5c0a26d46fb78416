"""`QueueList`: the queue, an item of two lines: number, class and score, and the reason below."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QColor, QFont, QFontMetrics, QPainter, QPalette
from qtpy.QtWidgets import QAbstractItemView, QApplication, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from napari_cellseg.gui.review.queue_model import QueueModel

__all__ = ["QueueList", "QueueRows"]

_MARGIN_PX = 3
_CHIP_PX = 12
_MIN_HEIGHT_PX = 84
"""Two items: on a low screen the queue gives way to the buttons, which are needed all the time."""


class QueueList(QListView):
    """The items of the queue; as high as the dock leaves it, since a dock that scrolls hides its buttons."""

    def __init__(self, model: QueueModel) -> None:
        super().__init__()
        self.setModel(model)
        self.setItemDelegate(QueueRows(self))
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setMinimumHeight(_MIN_HEIGHT_PX)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(100, _MIN_HEIGHT_PX)


class QueueRows(QStyledItemDelegate):
    """Shortens the class and the reason in their middle; the tooltip of the row has both."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Any) -> QSize:  # noqa: ARG002, D102
        return QSize(100, 2 * option.fontMetrics.height() + 2 * _MARGIN_PX)

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: Any) -> None:  # noqa: D102
        model = index.model()
        if painter is None or not isinstance(model, QueueModel):
            return
        self.initStyleOption(option, index)
        option.text = ""
        style = option.widget.style() if option.widget is not None else QApplication.style()
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        number, name, score, reason = model.texts(index.row())
        metrics, line = QFontMetrics(option.font), option.fontMetrics.height()
        area = option.rect.adjusted(4, _MARGIN_PX, -4, -_MARGIN_PX)
        first, second = QRect(area.topLeft(), QSize(area.width(), line)), area.adjusted(_CHIP_PX + 6, line, 0, 0)
        chip = QRect(first.left(), first.center().y() - _CHIP_PX // 2, _CHIP_PX, _CHIP_PX)
        painter.save()
        painter.fillRect(chip, model.colour(index.row()))
        is_chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        role = QPalette.ColorRole.HighlightedText if is_chosen else QPalette.ColorRole.Text
        painter.setPen(option.palette.color(role))
        left, middle = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignVCenter
        first.setLeft(chip.right() + 6)
        painter.drawText(first, int(Qt.AlignmentFlag.AlignRight | middle), score)
        first.setRight(first.right() - metrics.horizontalAdvance(score) - 8)
        bold = QFont(option.font)
        bold.setWeight(QFont.Weight.DemiBold)
        painter.setFont(bold)
        painter.drawText(first, int(left | middle), number)
        first.setLeft(first.left() + QFontMetrics(bold).horizontalAdvance(number) + 8)
        painter.setFont(option.font)
        elide = Qt.TextElideMode.ElideMiddle
        painter.drawText(first, int(left | middle), metrics.elidedText(name, elide, first.width()))
        pale = QColor(option.palette.color(role))
        pale.setAlpha(190)
        painter.setPen(pale)
        painter.drawText(second, int(left | middle), metrics.elidedText(reason, elide, second.width()))
        painter.restore()

"""Labels, buttons and choices that shorten a text in its middle, and show all of it as their tooltip."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QStylePainter,
)

__all__ = ["ElidedButton", "ElidedComboBox", "ElidedLabel"]

_MIDDLE = Qt.TextElideMode.ElideMiddle
_LEAST_PX = 24
_SLACK_PX = 4
"""A theme draws that much closer to the frame, rather than to shorten a text that just fits."""
_LEAST_CHOICE_PX = 72


class ElidedLabel(QLabel):
    """A label of one line; `text` returns all of it, however much fits."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._full, self._tip = "", ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setText(text)

    def text(self) -> str:
        """Return the whole text."""
        return self._full

    def setText(self, text: str | None) -> None:
        """Show another text."""
        self._full = text or ""
        self._fit()
        self.updateGeometry()

    def setToolTip(self, tip: str | None) -> None:
        """Set what the tooltip says below the text, if that is cut off."""
        self._tip = tip or ""
        self._fit()

    def sizeHint(self) -> QSize:  # noqa: D102
        width = self.fontMetrics().horizontalAdvance(self._full) + self._margins() + 2
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(_LEAST_PX, super().minimumSizeHint().height())

    def resizeEvent(self, event: Any) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: Any) -> None:  # noqa: D102
        super().changeEvent(event)
        self._fit()  # of another font, more or less fits
        self.updateGeometry()

    def _margins(self) -> int:
        """Return what the theme adds around a text, px."""
        shown = super().text()
        added = super().sizeHint().width() - self.fontMetrics().horizontalAdvance(shown) if shown else 0
        return max(added, 0)

    def _fit(self) -> None:
        room = max(self.width() - self._margins(), _LEAST_PX)
        shown = self.fontMetrics().elidedText(self._full, _MIDDLE, room)
        if shown != super().text():
            super().setText(shown)
        whole = self._full if shown != self._full else ""
        super().setToolTip("\n".join(filter(None, (whole, self._tip))))


class ElidedButton(QPushButton):
    """A button whose text is shortened; give its tooltip the whole text."""

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(_LEAST_PX + self.iconSize().width(), super().minimumSizeHint().height())

    def paintEvent(self, event: Any) -> None:  # noqa: ARG002, D102
        option = QStyleOptionButton()
        self.initStyleOption(option)
        room = self.style().subElementRect(QStyle.SubElement.SE_PushButtonContents, option, self).width()
        if not option.icon.isNull():
            room -= option.iconSize.width() + 4
        if option.fontMetrics.horizontalAdvance(option.text) > room + _SLACK_PX:
            option.text = option.fontMetrics.elidedText(option.text, _MIDDLE, room)
        QStylePainter(self).drawControl(QStyle.ControlElement.CE_PushButton, option)


class ElidedComboBox(QComboBox):
    """A choice that can be narrower than its entries; hovering shows the whole current one."""

    def __init__(self) -> None:
        super().__init__()
        self._tip = ""
        self.setMinimumContentsLength(12)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.currentTextChanged.connect(lambda _: self._show_tip())

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(_LEAST_CHOICE_PX, super().minimumSizeHint().height())

    def setToolTip(self, tip: str | None) -> None:
        """Set what the tooltip says below the current entry."""
        self._tip = tip or ""
        self._show_tip()

    def paintEvent(self, event: Any) -> None:  # noqa: ARG002, D102
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width() - 4
        if not option.currentIcon.isNull():
            room -= option.iconSize.width() + 4
        option.currentText = option.fontMetrics.elidedText(option.currentText, _MIDDLE, room)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def _show_tip(self) -> None:
        super().setToolTip("\n".join(filter(None, (self.currentText(), self._tip))))

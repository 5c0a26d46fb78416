"""What of a dock cannot be read: text that is cut off without a tooltip, and widgets that reach out of the dock."""

from __future__ import annotations

import re
from typing import Any

from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QScrollArea,
    QSlider,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QTableView,
    QToolButton,
    QWidget,
)

from napari_cellseg.gui.widgets.elided import ElidedButton, ElidedComboBox

SLACK_PX = 1
ELLIPSIS = "\u2026"


def cut_texts(dock: QWidget) -> list[str]:
    """Return one line per widget of a dock that cannot be read or used at its present size."""
    found = []
    for widget in dock.findChildren(QWidget):
        if not widget.isVisibleTo(dock) or _belongs_to_another(widget):
            continue
        problem = _problem(widget) or _reaches_out(widget, dock)
        if problem:
            found.append(f"{type(widget).__name__} {_text(widget)!r}: {problem}")
    return found


def _belongs_to_another(widget: QWidget) -> bool:
    """Whether a widget is a part of a spin box, a view or a choice, which is looked at as a whole."""
    parent = widget.parentWidget()
    if isinstance(widget, QHeaderView):
        return False
    return isinstance(parent, (QAbstractSpinBox, QComboBox, QAbstractItemView, QLineEdit, QScrollArea))


def _text(widget: Any) -> str:
    for name in ("currentText", "text"):
        if hasattr(widget, name):
            return str(getattr(widget, name)())
    return str(widget.objectName())


def _problem(widget: Any) -> str:
    if isinstance(widget, QLabel):
        return _label(widget)
    if isinstance(widget, QComboBox):
        return _choice(widget)
    if isinstance(widget, QAbstractSpinBox):
        return _fits(widget, widget.text(), widget.lineEdit().width(), "")
    if isinstance(widget, QLineEdit):
        shown = widget.text() or widget.placeholderText()
        return _fits(widget, shown, widget.width() - 6, widget.toolTip())
    if isinstance(widget, QHeaderView):
        return _heads(widget)
    if isinstance(widget, QAbstractButton) and widget.text():
        return _button(widget)
    if isinstance(widget, QSlider) and max(widget.width(), widget.height()) < 40:
        return f"only {widget.width()} px to drag in"
    return ""


def _fits(widget: Any, text: str, room: float, tip: str) -> str:
    needed = widget.fontMetrics().horizontalAdvance(text)
    if needed <= room + SLACK_PX or (tip and _plain(text) in _plain(tip)):
        return ""
    return f"needs {needed} px, has {room:.0f}, and its tooltip is {tip!r}"


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("&&", "&")).strip()


def _label(label: Any) -> str:
    text, shown = label.text(), QLabel.text(label)
    if not text or (label.pixmap() is not None and not label.pixmap().isNull()):
        return ""
    if label.wordWrap():
        needed = label.heightForWidth(label.width())
        return f"needs {needed} px of height, has {label.height()}" if needed > label.height() + SLACK_PX else ""
    if shown != text or ELLIPSIS in shown:
        return "" if _plain(text) in _plain(label.toolTip()) else f"shortened to {shown!r} without a tooltip"
    if label.textFormat() == Qt.TextFormat.PlainText or not Qt.mightBeRichText(text):
        return _fits(label, text, label.contentsRect().width(), label.toolTip())
    needed = label.sizeHint().width()
    return f"needs {needed} px, has {label.width()}" if needed > label.width() + SLACK_PX else ""


def _button(button: Any) -> str:
    option = QStyleOptionButton()
    room = button.width() - 4
    if not isinstance(button, QToolButton) and type(button).__name__ not in ("QCheckBox", "QRadioButton"):
        option.initFrom(button)
        room = button.style().subElementRect(QStyle.SubElement.SE_PushButtonContents, option, button).width()
        if button.menu() is not None:
            room -= 12
    elif button.sizeHint().width() > button.width() + SLACK_PX:
        return f"needs {button.sizeHint().width()} px, has {button.width()}"
    else:
        return ""
    if not button.icon().isNull():
        room -= button.iconSize().width() + 4
    text = button.text()
    if ELLIPSIS in text:
        return "" if len(_plain(button.toolTip())) > len(text) else "shortened without a tooltip"
    needed = button.fontMetrics().horizontalAdvance(text.replace("&&", "\0").replace("&", "").replace("\0", "&"))
    if needed <= room + SLACK_PX:
        return ""
    name = _plain(text).partition(" ")[2].strip() or text
    return (
        ""
        if isinstance(button, ElidedButton) and name in _plain(button.toolTip())
        else f"needs {needed} px, has {room}"
    )


def _choice(box: Any) -> str:
    option = QStyleOptionComboBox()
    option.initFrom(box)
    option.currentIcon, option.iconSize = box.itemIcon(box.currentIndex()), box.iconSize()
    field = QStyle.SubControl.SC_ComboBoxEditField
    room = box.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, box).width()
    if not option.currentIcon.isNull():
        room -= option.iconSize.width() + 4
    tip = box.toolTip() if isinstance(box, ElidedComboBox) else ""
    return _fits(box, box.currentText(), room, tip)


def _heads(header: Any) -> str:
    view = header.parentWidget()
    if not isinstance(view, QTableView) or header is not view.horizontalHeader() or header.isHidden():
        return ""
    model, cut = view.model(), []
    for column in range(model.columnCount()):
        if header.isSectionHidden(column):
            continue
        needed = header.sectionSizeHint(column)
        if needed > header.sectionSize(column) + SLACK_PX:
            text = model.headerData(column, Qt.Orientation.Horizontal)
            cut.append(f"{text!r} needs {needed} px, has {header.sectionSize(column)}")
    return "; ".join(cut)


def _reaches_out(widget: QWidget, dock: QWidget) -> str:
    """Say when a part of a widget lies right of what the dock shows; a dock does not scroll sideways."""
    areas = [area for area in dock.findChildren(QScrollArea) if area.isAncestorOf(widget)]
    frame = areas[0].viewport() if areas else dock
    if frame.isAncestorOf(widget) or frame is dock:
        right = widget.mapTo(frame, QPoint(0, 0)).x() + widget.width()
        if right > frame.width() + SLACK_PX and not isinstance(widget.parentWidget(), QHeaderView):
            return f"reaches {right - frame.width()} px out of the dock"
    return ""

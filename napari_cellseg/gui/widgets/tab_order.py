"""Tab in a dock: from control to control as they lie, with a ring around the one that has the focus."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QApplication, QWidget

from napari_cellseg.gui.widgets.workflow import is_in_front

__all__ = ["FocusRing", "move_focus", "tab_stops"]

_POLICIES = (Qt.FocusPolicy.TabFocus, Qt.FocusPolicy.StrongFocus, Qt.FocusPolicy.WheelFocus)
_RING = "#56b4e9"
"""Contrast of 3 at least on the themes of napari and on the blue of a primary button."""
_GONE = (QEvent.Type.FocusOut, QEvent.Type.Hide)
_MOVED = (QEvent.Type.Resize, QEvent.Type.Move)


def tab_stops(part: QWidget) -> list[QWidget]:
    """Return the controls of a part of the window that Tab stops at, row by row and each row from left to right."""
    stops = [widget for widget in part.findChildren(QWidget) if _is_stop(widget)]
    places = {widget: QRect(widget.mapTo(part, QPoint(0, 0)), widget.size()) for widget in stops}
    left = sorted(stops, key=lambda widget: (places[widget].top(), places[widget].left()))
    ordered: list[QWidget] = []
    while left:
        head = places[left[0]]
        row = [widget for widget in left if head.top() <= places[widget].center().y() <= head.bottom()]
        row.sort(key=lambda widget: (places[widget].left(), places[widget].top()))
        ordered += row
        left = [widget for widget in left if widget not in row]
    return ordered


def move_focus(part: QWidget, *, forward: bool) -> bool:
    """Give the focus to the next control of ``part``, after the last one to what follows in the window.

    Qt's own order is that in which the controls were made, which differs from how they lie. For ``focusNextPrevChild``.

    Parameters
    ----------
    part : QWidget
    forward : bool
        Whether Tab was pressed; else Shift+Tab.

    Returns
    -------
    bool
        Whether there was a control to go to.
    """
    stops, now = tab_stops(part), QApplication.focusWidget()
    place = stops.index(now) + (1 if forward else -1) if now in stops else 0 if forward else len(stops) - 1
    target = stops[place] if 0 <= place < len(stops) else _outside(part, forward=forward)
    if target is None:
        return False
    target.setFocus(Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason)
    if part.isAncestorOf(target):
        FocusRing(target, part)
    return True


def _is_stop(widget: QWidget) -> bool:
    can_take = widget.focusPolicy() in _POLICIES and widget.focusProxy() is None
    return can_take and widget.isEnabled() and widget.isVisible()


def _outside(part: QWidget, *, forward: bool) -> QWidget | None:
    """Return the control after or before ``part`` in Qt's own order; those of docks behind other tabs are left out."""
    step: Any = QWidget.nextInFocusChain if forward else QWidget.previousInFocusChain
    widget: QWidget = step(part)
    while widget is not part:
        if not part.isAncestorOf(widget) and _is_stop(widget) and is_in_front(widget):
            return widget
        widget = step(widget)
    return None


class FocusRing(QWidget):
    """A frame around a control that got the focus by Tab, as long as it has it; napari's themes show no focus.

    Parameters
    ----------
    target : QWidget
    part : QWidget
        What the ring is drawn on; holds ``target``.
    """

    def __init__(self, target: QWidget, part: QWidget) -> None:
        super().__init__(part)
        self._target = target
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        target.installEventFilter(self)
        self._follow()
        self.show()
        self.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: ARG002, D102
        if event.type() in _GONE:
            self.hide()
            self.deleteLater()
        elif event.type() in _MOVED:
            self._follow()
        return False

    def _follow(self) -> None:
        part = self.parentWidget()
        assert part is not None
        place = QRect(self._target.mapTo(part, QPoint(0, 0)), self._target.size())
        self.setGeometry(place.adjusted(-1, -1, 1, 1).intersected(part.rect()))

    def paintEvent(self, event: Any) -> None:  # noqa: ARG002, D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(_RING), 2))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 3, 3)
        painter.end()

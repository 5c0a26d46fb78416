"""The docks without a mouse and with a screen reader: every control has a name, and Tab reaches it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QGraphicsView,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QScrollBar,
    QSlider,
    QTextEdit,
    QWidget,
)
from review_window import Window, pump, wait_until

from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.dock import Section
from napari_cellseg.gui.widgets.tab_order import FocusRing, move_focus
from napari_cellseg.gui.widgets.workflow import WORKFLOW, show_dock

pytestmark = pytest.mark.gui

USABLE = (
    QAbstractButton, QAbstractItemView, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit,
    QPlainTextEdit, QTextEdit,
)  # fmt: skip
SHOWN = (QProgressBar, QGraphicsView)
WHOLES = (QAbstractSpinBox, QComboBox, QAbstractItemView, QLineEdit, QGraphicsView, QScrollArea)
"""Their parts are looked at with them."""
DOCKS = (*WORKFLOW, "Batch", "Models", "Gallery", "Table")


@pytest.fixture(scope="module")
def docks(window: Window) -> dict[str, QWidget]:
    """All docks with an image under review, their sections open, and the work bar."""
    window.open()
    made: dict[str, QWidget] = {}
    for name in DOCKS:
        dock = show_dock(window.viewer, name)
        assert dock is not None
        made[name] = dock
        pump(0.1)
        for section in dock.findChildren(Section):
            section.set_open(True)
    line = plugin_of(window.viewer).work_bar.line
    assert line is not None
    return {**made, "work bar": line}


def controls(part: QWidget, kinds: tuple[type, ...]) -> list[Any]:
    found = [widget for widget in part.findChildren(QWidget) if isinstance(widget, kinds)]
    return [widget for widget in found if not _is_part(widget) and not isinstance(widget, QScrollBar)]


def _is_part(widget: QWidget) -> bool:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, WHOLES):
        parent = parent.parentWidget()
    # The scroll area of a dock holds all of its controls.
    return parent is not None and not (isinstance(parent, QScrollArea) and not isinstance(widget, QScrollBar))


def spoken_name(widget: Any) -> str:
    """Return what Qt tells a screen reader: the accessible name, else the label, else the text of a button."""
    if widget.accessibleName():
        return str(widget.accessibleName())
    siblings = widget.parentWidget().findChildren(QLabel, options=Qt.FindChildOption.FindDirectChildrenOnly)
    labels = [label.text() for label in siblings if label.buddy() is widget]
    return labels[0] if labels else widget.text() if isinstance(widget, QAbstractButton) else ""


def nameless(part: QWidget) -> list[str]:
    return [
        f"{type(widget).__name__} {spoken_name(widget)!r} ({widget.toolTip()})"
        for widget in controls(part, (*USABLE, *SHOWN))
        if not re.search(r"[^\W\d_]{2}", spoken_name(widget))
    ]


@pytest.mark.parametrize("name", [*DOCKS, "work bar"])
def test_every_control_has_a_name_for_screen_readers(docks: dict[str, QWidget], name: str) -> None:
    assert controls(docks[name], USABLE), "there are controls"
    assert nameless(docks[name]) == []


def test_a_slider_and_a_button_with_a_sign_have_no_name(qtbot) -> None:
    part = QWidget()
    row = QHBoxLayout(part)
    label, named = QLabel("&Scale"), QSlider()
    label.setBuddy(named)
    for widget in (label, named, QSlider(), QPushButton("<"), QPushButton("Next >")):
        row.addWidget(widget)
    qtbot.addWidget(part)
    assert nameless(part) == ["QSlider '' ()", "QPushButton '<' ()"]


# ---- Tab ----


def stops(part: QWidget) -> list[Any]:
    """The controls that Tab has to reach; of choices that exclude each other, the chosen one, and arrows the others."""
    found = [widget for widget in controls(part, USABLE) if widget.isVisible() and widget.isEnabled()]
    found = [widget for widget in found if not isinstance(widget, QRadioButton) or widget.isChecked()]
    return [widget for widget in found if not (type(widget).__name__ == "ColourChip" and not widget.toolTip())]


def walk(part: QWidget, start: QWidget, key: Any) -> list[QWidget]:
    """Press Tab from a control until the focus leaves ``part``; return where it was."""
    start.setFocus()
    wait_until(start.hasFocus)
    visited: list[QWidget] = []
    while (now := QApplication.focusWidget()) is not None and part.isAncestorOf(now):
        assert now not in visited, f"Tab goes round to {_text(now)}"
        visited.append(now)
        QTest.keyClick(now, key)
    return visited


def _bring(window: Window, dock: QWidget) -> None:
    from napari_cellseg.gui.widgets.workflow import dock_of

    if (holder := dock_of(dock)) is not None:
        holder.raise_()
    pump(0.1)
    window.state.window.activateWindow()


def _place(part: QWidget, widget: QWidget) -> QRect:
    return QRect(widget.mapTo(part, QPoint(0, 0)), widget.size())


@pytest.mark.parametrize("name", [*DOCKS, "work bar"])
def test_tab_reaches_every_control_in_the_order_in_which_they_lie(
    window: Window, docks: dict[str, QWidget], name: str
) -> None:
    part = docks[name]
    _bring(window, part)
    wanted = stops(part)
    first = min(wanted, key=lambda widget: (_place(part, widget).top(), _place(part, widget).left()))
    forward = walk(part, first, Qt.Key.Key_Tab)
    assert {_text(widget) for widget in wanted if widget not in forward} == set()
    for before, after in pairwise(forward):
        here, there = _place(part, before), _place(part, after)
        assert there.top() > here.center().y() or there.left() > here.left(), f"{_text(after)} after {_text(before)}"
    assert walk(part, forward[-1], Qt.Key.Key_Backtab) == forward[::-1]


def _text(widget: QWidget) -> str:
    return f"{type(widget).__name__} {spoken_name(widget)!r}"


def test_the_control_that_tab_reaches_is_in_view_and_has_a_ring_until_it_loses_the_focus(
    window: Window, docks: dict[str, QWidget]
) -> None:
    part = docks["Train"]
    _bring(window, part)
    order = stops(part)
    order[0].setFocus()
    wait_until(lambda: QApplication.focusWidget() is order[0])
    area = part.findChild(QScrollArea)
    while (now := QApplication.focusWidget()) is not None and part.isAncestorOf(now):
        QTest.keyClick(now, Qt.Key.Key_Tab)
        now = QApplication.focusWidget()
        if now is None or not part.isAncestorOf(now):
            break
        assert area.viewport().rect().intersects(QRect(now.mapTo(area.viewport(), QPoint(0, 0)), now.size()))
        rings = [ring for ring in part.findChildren(FocusRing) if ring.isVisible()]
        assert [ring.geometry().center() for ring in rings] == [_place(area.widget(), now).center()]
    assert not [ring for ring in part.findChildren(FocusRing) if ring.isVisible()]


def test_space_presses_the_button_that_tab_reached_and_a_click_gives_it_no_focus(
    window: Window, docks: dict[str, QWidget]
) -> None:
    part = docks["Review"]
    _bring(window, part)
    window.open()
    window.canvas.setFocus()
    wait_until(lambda: QApplication.focusWidget() is window.canvas)
    contour = next(widget for widget in part.findChildren(QCheckBox) if widget.text() == "contour")
    before = contour.isChecked()
    QTest.mouseClick(contour, Qt.MouseButton.LeftButton, pos=QPoint(8, contour.height() // 2))
    assert (contour.isChecked(), contour.hasFocus()) == (not before, False)
    contour.setFocus(Qt.FocusReason.TabFocusReason)
    wait_until(lambda: QApplication.focusWidget() is contour)
    QTest.keyClick(contour, Qt.Key.Key_Space)
    assert contour.isChecked() is before
    QTest.keyClick(contour, Qt.Key.Key_N)  # a key of the review, whatever has the focus
    assert len(window.state.selection) == 1


def test_without_a_control_tab_has_nowhere_to_go(qtbot) -> None:
    empty = QWidget()
    qtbot.addWidget(empty)
    empty.show()
    assert not move_focus(empty, forward=True)

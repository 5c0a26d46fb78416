"""The parts of all docks: one scrolling column, one primary button, sections, and disabled buttons with a reason."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QFormLayout, QFrame, QLabel, QPushButton, QScrollArea, QToolButton, QVBoxLayout, QWidget

from napari_cellseg.gui.preferences import remember
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.lifetime import delete_with_dock
from napari_cellseg.gui.widgets.tab_order import move_focus
from napari_cellseg.gui.widgets.workflow import DOCK_WIDTH_PX, NARROW_PX, bring_docks, dock_of, name_of

__all__ = ["Dock", "KeyGuard", "PrimaryButton", "Section", "explain", "form_layout", "small_label"]

ACCENT = "#0072b2"
"""Blue of the primary button: white text on it can be read (contrast 5.2) on light and dark themes alike."""
WARNING = "#e69f00"
ERROR = "#d55e00"
_REMEMBER_MS = 1000
"""After this time in front, a tab is remembered."""


_MARGIN_PX, _BAR_GAP_PX = 4, 6
"""At both sides of a dock, and more next to its scroll bar."""


class Dock(QWidget):
    """A dock of the plugin: fill ``self.column`` from top to bottom.

    Parameters
    ----------
    state : AppState
        What all docks of a viewer share.
    """

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self.state = state
        content = QWidget()
        self.column = QVBoxLayout(content)
        self.column.setContentsMargins(_MARGIN_PX, 6, _MARGIN_PX, 6)
        self.column.setSpacing(6)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # Tab would stop at the whole dock, and show nothing
        scroll.setWidget(content)
        scroll.verticalScrollBar().rangeChanged.connect(self._keep_from_bar)
        self._scrolled = content
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(NARROW_PX)
        self._is_followed = False
        # All tabs are in front for a moment when they are opened, which is not the user's choice.
        self._in_front = QTimer(self)
        self._in_front.setSingleShot(True)
        self._in_front.setInterval(_REMEMBER_MS)
        self._in_front.timeout.connect(self._remember_tab)

    def showEvent(self, event: Any) -> None:  # noqa: D102
        super().showEvent(event)
        if not self.state.has_docks:
            self.state.has_docks = True
            # Not now: napari is still putting this one in its place.
            QTimer.singleShot(0, self._bring_docks)
        dock = dock_of(self)
        if dock is not None and not self._is_followed:
            self._is_followed = delete_with_dock(self, self.state.docks)
            dock.visibilityChanged.connect(self._on_front)  # of tabs that lie behind, Qt says they are visible as well

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, D102 - Qt's name
        return move_focus(self._scrolled, forward=next)

    def _keep_from_bar(self, _: int, most: int) -> None:
        """Keep the buttons away from a scroll bar that is shown, so that neither is clicked in place of the other."""
        self.column.setContentsMargins(_MARGIN_PX, 6, _MARGIN_PX + (_BAR_GAP_PX if most else 0), 6)

    def _on_front(self, is_front: bool) -> None:
        if is_front:
            self._in_front.start()
        else:
            self._in_front.stop()

    def _remember_tab(self) -> None:
        dock = dock_of(self)
        if dock is not None:
            remember("tab", name_of(dock))

    def _bring_docks(self) -> None:
        viewer = self.state.viewer
        if viewer is not None:
            bring_docks(viewer, self)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(DOCK_WIDTH_PX, 480)


class PrimaryButton(QPushButton):
    """The button for the main action of a dock."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setMinimumHeight(34)
        self.setStyleSheet(
            f"PrimaryButton {{ background-color: {ACCENT}; color: white; font-weight: 600; border-radius: 4px; }}"
            "PrimaryButton:hover { background-color: #0084cc; } PrimaryButton:pressed { background-color: #005d91; }"
            "PrimaryButton:disabled { background-color: rgba(128, 128, 128, 60); color: rgba(128, 128, 128, 255); }"
        )


class KeyGuard(QObject):
    """Lets Enter press a button that starts long work, and Space not.

    Tab hides the masks on the canvas and moves on in a dock, so that Space may press a button that was not meant.
    """

    def __init__(self, button: QPushButton) -> None:
        super().__init__(button)
        button.installEventFilter(self)
        button.setAccessibleDescription("Enter starts it")

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if event.type() not in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
            return False
        key, is_press = event.key(), event.type() == QEvent.Type.KeyPress
        if is_press and key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and isinstance(watched, QPushButton):
            watched.click()
            return True
        return key in (Qt.Key.Key_Space, Qt.Key.Key_Select)


def explain(widget: QWidget, why_not: str | None, tip: str = "") -> None:
    """Enable a widget, or disable it with the reason as its tooltip.

    Parameters
    ----------
    widget : QWidget
    why_not : str or None
        The reason why it is disabled, for example "Open an image first."; None to enable it.
    tip : str
        Its tooltip while enabled.
    """
    widget.setEnabled(why_not is None)
    widget.setToolTip(tip if why_not is None else why_not)


class Section(QWidget):
    """A part of a dock under a heading that opens and closes it."""

    def __init__(self, title: str, content: QWidget, *, is_open: bool = False) -> None:
        super().__init__()
        self._content = content
        self._head = QToolButton()
        self._head.setText(title)
        self._head.setCheckable(True)
        self._head.setAutoRaise(True)
        self._head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._head.setStyleSheet("QToolButton { border: none; padding: 2px 0px; }")
        self._head.toggled.connect(self._toggle)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._head)
        layout.addWidget(content)
        self._head.setChecked(is_open)
        self._toggle(is_open)

    def set_open(self, is_open: bool) -> None:
        """Open or close it."""
        self._head.setChecked(is_open)

    def _toggle(self, is_open: bool) -> None:
        self._head.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self._content.setVisible(is_open)


def form_layout(parent: QWidget | None = None) -> QFormLayout:
    """Make a form with its labels on the left and its fields, as wide as they can be, on the right."""
    form = QFormLayout(parent) if parent is not None else QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(0)  # labels have a margin; Qt forgets a spacing when it wraps a row
    form.setVerticalSpacing(6)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)  # in a narrow dock, below the label
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return form


def small_label(text: str = "") -> QLabel:
    """Make a label for a hint or a result: wraps, and can be selected."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setMinimumWidth(1)  # else one long word, such as a path, makes the whole dock wider than it is
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label

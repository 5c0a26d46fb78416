"""The keys of a review: bound on the layers of the plugin, so that napari's own do not win, and in our docks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_cellseg.gui.canvas.camera import canvas_widget
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.plugin_image import is_own_layer
from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.gui.review.action import ReviewAction, Where
from napari_cellseg.gui.review.action_table import MOUSE, REVIEW_ACTIONS, perform
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.state import AppState

__all__ = ["KeysDialog", "ReviewKeys", "add_dock_keys"]

_CANVAS = (Where.EVERYWHERE, Where.CANVAS, Where.REVIEW)
_PASSING = (Where.SPLITTING, Where.CLICKING, Where.REGION, Where.END)
_WINDOW_KEYS = ("?",)
"""Keys that napari has no name for: the window itself gets them."""
_FOCUS_KEYS = ("Tab",)
"""Keys with which Qt would move the focus before the canvas gets them."""
_NAPARI_NAMES = {"PgUp": "PageUp", "PgDown": "PageDown"}
_ENTER = {"Enter": ("Return", "Enter")}
"""Qt has two keys for one: that of the letters, and that of the digits."""


class ReviewKeys:
    """The keys on the canvas: of every layer of the plugin, and of the viewer while no layer is active.

    Layers of the user and of other plugins keep their keys, and napari's. Some sets come and go: those of a split, of a
    clicked cell, and Enter at the end of the queue.
    """

    def __init__(self, state: AppState, layers: ClassLayers, actions: ReviewActions) -> None:
        self._state, self._actions = state, actions
        self._passing: tuple[Where, ...] = ()
        self._focus_keys = self._make_focus_keys()
        self._replaced: dict[str, Any] | None = None  # of the viewer, while our keys are bound on it
        self._turn = QTimer()
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(lambda: self._update())
        viewer = state.viewer
        for layer in self._own_layers():
            self._bind(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.selection.events.active.connect(self._on_active)
        state.current_changed.connect(lambda: self._on_active())
        # In the middle of a change the queue is not up to date; functions, as Qt keeps no object alive for its method.
        for signal in (actions.cutting.changed, actions.changed, layers.ready):
            signal.connect(lambda: self._turn.start(0))
        actions.cutting.changed.connect(lambda: self._update())
        actions.keys_requested.connect(lambda: KeysDialog(actions, actions.window).show())
        if actions.window is not None:
            for key, row in _keys(Where.EVERYWHERE):
                if key in _WINDOW_KEYS:
                    QShortcut(QKeySequence(key), actions.window).activated.connect(partial(perform, row, actions))

    def _make_focus_keys(self) -> list[QShortcut]:
        canvas, made = canvas_widget(self._state.viewer), []
        for key, row in _keys(*_CANVAS) if canvas is not None else ():
            if key in _FOCUS_KEYS:
                shortcut = QShortcut(QKeySequence(key), canvas)
                shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
                shortcut.setAutoRepeat(False)
                shortcut.setEnabled(False)
                shortcut.activated.connect(partial(perform, row, self._actions))
                made.append(shortcut)
        return made

    def close(self) -> None:
        """Give the viewer its own keys back."""
        self._turn.stop()
        for shortcut in self._focus_keys:
            shortcut.setEnabled(False)
        self._release_viewer()

    def _own_layers(self) -> list[Any]:
        viewer = self._state.viewer
        return [] if viewer is None else [layer for layer in viewer.layers if is_own_layer(layer)]

    def _on_inserted(self, event: Any) -> None:
        if is_own_layer(event.value):
            self._bind(event.value)

    def _on_active(self, _: object = None) -> None:
        """Bind the keys on the viewer while no layer is active: none or several are selected in the layer list."""
        viewer = self._state.viewer
        active = None if viewer is None else viewer.layers.selection.active
        for shortcut in self._focus_keys:
            shortcut.setEnabled(self._is_open and (active is None or is_own_layer(active)))
        if viewer is None or not self._is_open or viewer.layers.selection.active is not None:
            self._release_viewer()
        elif self._replaced is None:
            self._replaced = self._bind(viewer)

    @property
    def _is_open(self) -> bool:
        return self._state.session is not None or self._state.slide is not None

    def _release_viewer(self) -> None:
        viewer, replaced, self._replaced = self._state.viewer, self._replaced, None
        if viewer is not None and replaced is not None:
            for name in self._passing_names():
                replaced.setdefault(name, None)
            for name, call in replaced.items():
                viewer.bind_key(name, call, overwrite=True)

    def _bind(self, holder: Any) -> dict[str, Any]:
        """Bind all keys that work now on a layer or the viewer, before napari's; return what they replace."""
        rows = [row for row in _keys(*_CANVAS, *self._passing) if row[0] not in _WINDOW_KEYS]
        return {_napari_name(key): _bind(holder, key, partial(perform, row, self._actions)) for key, row in rows}

    def _update(self) -> None:
        """Bind the keys that come and go, if others are needed now; napari's polygons get theirs back afterwards."""
        wanted = self._wanted()
        if wanted == self._passing:
            return
        self._passing = wanted
        viewer = [] if self._replaced is None else [self._state.viewer]
        for holder in (*self._own_layers(), *viewer):
            for name in self._passing_names():
                holder.bind_key(name, None, overwrite=True)
            for key, row in _keys(*wanted):
                _bind(holder, key, partial(perform, row, self._actions))

    @staticmethod
    def _passing_names() -> list[str]:
        return [_napari_name(key) for key, _ in _keys(*_PASSING)]

    def _wanted(self) -> tuple[Where, ...]:
        if self._actions.cutting.cell_id is not None:
            return (Where.SPLITTING,)
        if self._actions.region.is_drawing:
            return (Where.REGION,)
        if self._actions.tools.tool is Tool.CELL:
            return (Where.CLICKING,)
        at_end = not self._actions.tools.draws and self._actions.queue.is_finished
        return (Where.END,) if at_end else ()


def add_dock_keys(dock: QWidget, actions: ReviewActions, *where: Where) -> None:
    """Make the same keys work in a dock and all of its parts; a field for text keeps its letters and digits.

    Parameters
    ----------
    dock : QWidget
    actions : ReviewActions
    *where : Where
        Which keys; those that work everywhere if left out.
    """
    for key, row in _keys(*(where or (Where.EVERYWHERE,))):
        for name in _ENTER.get(key, (key,)) if key not in _WINDOW_KEYS else ():
            shortcut = QShortcut(QKeySequence(name), dock)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.setAutoRepeat(row.release is None)
            shortcut.activated.connect(partial(perform, row, actions))


class KeysDialog(QDialog):
    """The list of keys; does not block the window."""

    def __init__(self, actions: ReviewActions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of the review")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        rows = [(" / ".join(row.keys), text) for row in REVIEW_ACTIONS if row.keys and (text := _text(row, actions))]
        grid = QGridLayout()
        grid.setHorizontalSpacing(24)
        for line, (keys, text) in enumerate((*rows, *MOUSE)):
            name = QLabel(keys)
            name.setStyleSheet("font-weight: 600;")
            grid.addWidget(name, line, 0)
            grid.addWidget(QLabel(text), line, 1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(grid)
        layout.addWidget(buttons)


def _text(row: ReviewAction, actions: ReviewActions) -> str:
    """Return the text of a row of the list: the name of a class, and nothing for a class that is not there."""
    return row.now(actions) if row.id.startswith("class_") and row.now is not None else row.tip


def _keys(*where: Where) -> list[tuple[str, ReviewAction]]:
    return [(key, row) for row in REVIEW_ACTIONS if row.where in where for key in row.keys]


def _napari_name(key: str) -> str:
    return "-".join(_NAPARI_NAMES.get(part, part) for part in key.split("+"))


def _bind(holder: Any, key: str, call: Callable[[], None]) -> Any:
    def review_key(_: Any) -> None:  # a function: napari asks what is bound for its name
        call()

    return holder.bind_key(_napari_name(key), review_key, overwrite=True)

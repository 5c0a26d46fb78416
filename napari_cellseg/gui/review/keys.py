"""The keys of a review: bound on the class layers themselves, so that napari's own do not win, and in our docks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.gui.review.action import ReviewAction, Where
from napari_cellseg.gui.review.action_table import MOUSE, REVIEW_ACTIONS, perform
from napari_cellseg.gui.review.actions import ReviewActions

__all__ = ["KeysDialog", "add_dock_keys", "bind_review_keys"]

_WINDOW_KEYS = ("?",)
"""Keys that napari has no name for: the window itself gets them."""
_NAPARI_NAMES = {"PgUp": "PageUp", "PgDown": "PageDown"}
_ENTER = {"Enter": ("Return", "Enter")}
"""Qt has two keys for one: that of the letters, and that of the digits."""


def bind_review_keys(layers: ClassLayers, actions: ReviewActions) -> None:
    """Bind the keys on all class layers, present and future, and those of the window."""
    for layer in layers:
        _bind_layer_keys(layer, actions)
    layers.layer_added.connect(lambda layer: _bind_layer_keys(layer, actions))
    passing = _PassingKeys(layers, actions)
    actions.cutting.changed.connect(lambda: passing.update())  # functions: Qt keeps no object alive for its method
    actions.changed.connect(passing.update_soon)
    layers.ready.connect(lambda: passing.bind())
    actions.keys_requested.connect(lambda: KeysDialog(actions, actions.window).show())
    if actions.window is not None:
        for key, row in _keys(Where.EVERYWHERE):
            if key in _WINDOW_KEYS:
                QShortcut(QKeySequence(key), actions.window).activated.connect(partial(perform, row, actions))


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


def _bind_layer_keys(layer: CellsLayer, actions: ReviewActions) -> None:
    """Bind the keys on one layer; they come before those that napari binds on all Labels layers."""
    for key, row in _keys(Where.EVERYWHERE, Where.CANVAS, Where.REVIEW):
        if key not in _WINDOW_KEYS:
            _bind(layer, key, partial(perform, row, actions))


class _PassingKeys:
    """Binds the keys of a split, or of the end of the queue, and returns them to napari's polygons afterwards."""

    def __init__(self, layers: ClassLayers, actions: ReviewActions) -> None:
        self._layers, self._actions = layers, actions
        self._bound: Where | None = None
        self._turn = QTimer()
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(lambda: self.update())
        self.update_soon = lambda: self._turn.start(0)  # in the middle of a change, the queue is not up to date
        """Bind what is needed once the present change is complete."""

    def update(self) -> None:
        """Bind what is needed now, if that has changed."""
        if self._wanted() is not self._bound:
            self.bind()

    def bind(self) -> None:
        """Bind what is needed now on all layers."""
        self._bound = self._wanted()
        for layer in self._layers:
            for key, _ in _keys(Where.SPLITTING, Where.CLICKING, Where.END):
                layer.bind_key(_napari_name(key), None, overwrite=True)
            for key, row in () if self._bound is None else _keys(self._bound):
                _bind(layer, key, partial(perform, row, self._actions))

    def _wanted(self) -> Where | None:
        if self._actions.cutting.cell_id is not None:
            return Where.SPLITTING
        if self._actions.tools.tool is Tool.CELL:
            return Where.CLICKING
        return Where.END if not self._actions.tools.draws and self._actions.queue.is_finished else None


def _napari_name(key: str) -> str:
    return "-".join(_NAPARI_NAMES.get(part, part) for part in key.split("+"))


def _bind(layer: CellsLayer, keys: str, call: Callable[[], None]) -> None:
    def review_key(_: CellsLayer) -> None:  # a function: napari asks what is bound for its name
        call()

    layer.bind_key(_napari_name(keys), review_key, overwrite=True)

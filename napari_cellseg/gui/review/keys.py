"""The keys of a review: bound on the class layers themselves, so that napari's own do not win, and in our docks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.review.action import ReviewAction, Where
from napari_cellseg.gui.review.action_table import MOUSE, REVIEW_ACTIONS, perform
from napari_cellseg.gui.review.actions import ReviewActions

__all__ = ["KeysDialog", "add_dock_keys", "bind_review_keys"]

_WINDOW_KEYS = ("?",)
"""Keys that napari has no name for: the window itself gets them."""


def bind_review_keys(layers: ClassLayers, actions: ReviewActions) -> None:
    """Bind the keys on all class layers, there and to come, and those of the window."""
    for layer in layers:
        _bind_layer_keys(layer, actions)
    layers.layer_added.connect(lambda layer: _bind_layer_keys(layer, actions))
    actions.cutting.changed.connect(lambda: _bind_cutting(layers, actions))
    actions.keys_requested.connect(lambda: KeysDialog(actions, actions.window).show())
    if actions.window is not None:
        for key, row in _keys(Where.EVERYWHERE):
            if key in _WINDOW_KEYS:
                QShortcut(QKeySequence(key), actions.window).activated.connect(partial(perform, row, actions))


def add_dock_keys(dock: QWidget, actions: ReviewActions) -> None:
    """Make the same keys work in a dock and all that is in it; a field that takes text keeps its letters."""
    for key, row in _keys(Where.EVERYWHERE):
        if key not in _WINDOW_KEYS:
            shortcut = QShortcut(QKeySequence(key), dock)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
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
    """Return what a row of the list says; a class is named, and one that there is not gives nothing."""
    return row.now(actions) if row.id.startswith("class_") and row.now is not None else row.tip


def _keys(*where: Where) -> list[tuple[str, ReviewAction]]:
    return [(key, row) for row in REVIEW_ACTIONS if row.where in where for key in row.keys]


def _bind_layer_keys(layer: CellsLayer, actions: ReviewActions) -> None:
    """Bind the keys on one layer; they come before those that napari binds on all Labels layers."""
    for key, row in _keys(Where.EVERYWHERE, Where.CANVAS):
        if key not in _WINDOW_KEYS:
            _bind(layer, key, partial(perform, row, actions))


def _bind_cutting(layers: ClassLayers, actions: ReviewActions) -> None:
    """Bind the keys of splitting while a cell is being split; give them back to napari's polygons afterwards."""
    for layer in layers:
        for key, row in _keys(Where.SPLITTING):
            if actions.cutting.cell_id is None:
                layer.bind_key(key, None, overwrite=True)
            else:
                _bind(layer, key, partial(perform, row, actions))


def _bind(layer: CellsLayer, keys: str, call: Callable[[], None]) -> None:
    def review_key(_: CellsLayer) -> None:  # a function: napari asks what is bound for its name
        call()

    layer.bind_key(keys.replace("+", "-"), review_key, overwrite=True)

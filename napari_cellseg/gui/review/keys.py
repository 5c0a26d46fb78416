"""The keys of a review: bound on the class layers themselves, so that napari's own do not win, and in our docks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.review.actions import ReviewActions

__all__ = ["KEYS", "KeysDialog", "add_dock_keys", "bind_review_keys"]


@dataclass(frozen=True)
class Key:
    """One key, written as Qt writes it, what it says in the list, and what it does."""

    keys: str
    text: str
    action: Callable[[ReviewActions], None]


KEYS = (
    Key("A", "Accept", ReviewActions.accept),
    Key("R", "Reject", ReviewActions.reject),
    Key("N", "Next in the queue", ReviewActions.next),
    Key("Shift+N", "Previous in the queue", ReviewActions.previous),
    Key("Q", "Merge the selected cells", ReviewActions.merge),
    Key("K", "Split the selected cell", ReviewActions.split),
    Key("Delete", "Delete", ReviewActions.delete),
    Key("Ctrl+Z", "Undo", ReviewActions.undo),
    Key("Ctrl+Shift+Z", "Redo", ReviewActions.redo),
)
CLASS_KEYS = tuple(range(1, 10))

MOUSE = (
    ("Click", "Select a cell"),
    ("Shift+Click", "Select one more, or one less"),
    ("Shift+Drag", "Select the cells in a box"),
    ("Ctrl+Drag", "Select the cells in a lasso"),
    ("M, then brush or polygon", "Draw a new cell (without M: on the selected one)"),
)


def bind_layer_keys(layer: CellsLayer, actions: ReviewActions) -> None:
    """Bind all keys on one layer; they come before those that napari binds on all Labels layers."""
    for key in KEYS:
        _bind(layer, key.keys, partial(key.action, actions))
    for number in CLASS_KEYS:
        _bind(layer, f"Alt+{number}", partial(_reclassify, actions, number))
    _bind(layer, "M", actions.draw_new)
    _bind(layer, "F1", lambda: KeysDialog.show_for(actions))


def add_dock_keys(dock: QWidget, actions: ReviewActions) -> None:
    """Make the same keys work in a dock and all that is in it; a field that takes text keeps its letters."""
    for key in KEYS:
        _shortcut(dock, key.keys, partial(key.action, actions))
    for number in CLASS_KEYS:
        _shortcut(dock, f"Alt+{number}", partial(_reclassify, actions, number))
    _shortcut(dock, "F1", lambda: KeysDialog.show_for(actions))


class KeysDialog(QDialog):
    """The list of keys; does not block the window."""

    def __init__(self, actions: ReviewActions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of the review")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        rows = [(key.keys, key.text) for key in KEYS]
        names = actions.class_names()[: len(CLASS_KEYS)]
        rows[4:4] = [(f"Alt+{i}", f"Class: {name}") for i, name in enumerate(names, 1)]
        rows += [("?", "This list"), ("Enter / Esc", "Cut at the seeds / give up splitting"), *MOUSE]
        grid = QGridLayout()
        grid.setHorizontalSpacing(24)
        for row, (keys, text) in enumerate(rows):
            name = QLabel(keys)
            name.setStyleSheet("font-weight: 600;")
            grid.addWidget(name, row, 0)
            grid.addWidget(QLabel(text), row, 1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(grid)
        layout.addWidget(buttons)

    @classmethod
    def show_for(cls, actions: ReviewActions) -> None:
        """Open the list over the viewer."""
        cls(actions, actions.window).show()


def bind_review_keys(layers: ClassLayers, actions: ReviewActions) -> None:
    """Bind the keys on all class layers, there and to come, and "?" in the window."""
    for layer in layers:
        bind_layer_keys(layer, actions)
    layers.layer_added.connect(lambda layer: bind_layer_keys(layer, actions))
    actions.cutting.changed.connect(lambda: _bind_cutting(layers, actions))
    if actions.window is not None:  # napari's own keys have no name for "?"
        QShortcut(QKeySequence("?"), actions.window).activated.connect(lambda: KeysDialog.show_for(actions))


def _bind_cutting(layers: ClassLayers, actions: ReviewActions) -> None:
    """Give Enter and Esc to the cutting while it goes on, and back to napari's polygons afterwards."""
    cutting = actions.cutting
    for layer in layers:
        for keys, call in (("Enter", cutting.finish), ("Escape", cutting.stop)):
            if cutting.cell_id is None:
                layer.bind_key(keys, None, overwrite=True)
            else:
                _bind(layer, keys, call)


def _bind(layer: CellsLayer, keys: str, call: Callable[[], None]) -> None:
    def review_key(_: CellsLayer) -> None:  # a function: napari asks what is bound for its name
        call()

    layer.bind_key(keys.replace("+", "-"), review_key, overwrite=True)


def _shortcut(dock: QWidget, keys: str, call: Callable[[], None]) -> None:
    shortcut = QShortcut(QKeySequence(keys), dock)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(call)


def _reclassify(actions: ReviewActions, number: int) -> None:
    if number <= len(actions.class_names()):
        actions.reclassify(number)

"""What must end with a dock: the dock itself, and what listens for it.

napari takes our widget out of a dock that it closes, and leaves it to Python: until some garbage collection it would
still follow the state, unseen, and a dock that is opened again would be the second one to do so. A collection comes at
any time, also while Qt delivers an event to a part of the widget, and that ends the program with a segmentation fault.
So Qt deletes the widget, soon, and Python holds it until then. The same is true of each Qt object: give it a parent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_cellseg.gui.widgets.workflow import dock_of

__all__ = ["delete_with_dock", "listen_while_alive"]


def delete_with_dock(widget: QWidget, held: set[QWidget]) -> bool:
    """Have a widget deleted when the dock that holds it is; returns whether there is one.

    Parameters
    ----------
    widget : QWidget
    held : set of QWidget
        Holds the widget until Qt has deleted it; `AppState.docks`.
    """
    dock = dock_of(widget)
    if dock is not None:
        held.add(widget)
        widget.destroyed.connect(lambda: held.discard(widget))
        dock.destroyed.connect(widget.deleteLater)
    return dock is not None


def listen_while_alive(owner: QObject, emitter: Any, slot: Callable[..., None]) -> None:
    """Connect an event of napari to a method of a Qt object until Qt deletes that; napari itself waits for Python."""
    emitter.connect(slot)
    owner.destroyed.connect(lambda: emitter.disconnect(slot))

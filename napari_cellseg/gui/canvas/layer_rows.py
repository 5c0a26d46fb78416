"""Rows of napari's layer list: a layer that is kept for later has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt

__all__ = ["back_text", "lock", "rename"]

_ITEM_ROLE = Qt.ItemDataRole.UserRole
"""The role under which napari's list gives the layer of a row."""


def rename(viewer: Any, layer: Any, name: str, *, is_listed: bool) -> None:
    """Rename a layer, and list it or, not editable any more, take it out of napari's layer list.

    The list remembers a hidden row when rows move.
    """
    layer.name = name
    if not is_listed:
        layer.editable = False
    view: Any = getattr(getattr(getattr(viewer, "window", None), "_qt_viewer", None), "layers", None)
    model: Any = None if view is None else view.model()
    for row in range(0 if model is None else model.rowCount()):
        if model.index(row, 0).data(_ITEM_ROLE) is layer:
            view.setRowHidden(row, not is_listed)
            return


def lock(layer: Any) -> None:
    """Protect a layer from napari's bin, which then says that it is locked, if this version of napari can."""
    if hasattr(layer, "locked"):
        layer.locked = True


def back_text(names: Sequence[str]) -> str:
    """Return what to say when layers that the user removed from napari's list are back."""
    which = f"The layer {names[0]} is" if len(names) == 1 else f"The layers {', '.join(names)} are"
    return (
        f"{which} back: cells are removed in Review (Delete), and the last class in Open. The eye next to a name hides "
        "a layer."
    )

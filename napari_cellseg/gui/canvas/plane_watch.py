"""`PlaneWatch`: shows the cells of a plane of another plugin's stack only while that plane is on show."""

from __future__ import annotations

from typing import Any
from weakref import ref

from qtpy.QtCore import QObject, Signal

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.foreign_layer import is_plane_of, shows_other_plane
from napari_cellseg.gui.state import AppState

__all__ = ["PlaneWatch"]


class PlaneWatch(QObject):
    """Hides the class layers, which have two axes and would lie over all planes, on the other planes of a stack.

    Made before `ClassLayers`, which remembers for the next image which layers are visible: these are shown again first.
    """

    told = Signal(str)
    """Why the cells are not shown, once for each image."""

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._stack: Any = None
        self._hidden: list[Any] = []
        self._has_told = False
        state.current_changed.connect(self._on_current)
        state.viewer.dims.events.current_step.connect(self.check)
        state.viewer.dims.events.ndisplay.connect(self.check)

    def _on_current(self) -> None:
        self._show()
        viewer, image_id = self._state.viewer, self._state.image_id
        stack = next((layer for layer in viewer.layers if image_id and is_plane_of(layer, image_id)), None)
        self._stack = None if stack is None or self._state.workspace is not None else ref(stack)
        self._has_told = False

    def check(self, _: object = None) -> None:
        """Hide the class layers if another plane is on show now, or show them again."""
        stack = None if self._stack is None else self._stack()
        if stack is None or stack not in self._state.viewer.layers or not shows_other_plane(stack, self._state):
            self._show()
            return
        for layer in self._state.viewer.layers:
            if isinstance(layer, CellsLayer) and layer.visible:
                layer.visible = False
                self._hidden.append(ref(layer))
        if self._hidden and not self._has_told:
            self._has_told = True
            self.told.emit(f"The cells belong to {self._state.image_id}, and are shown only on that plane.")

    def _show(self) -> None:
        hidden, self._hidden = self._hidden, []
        for layer in (each() for each in hidden):
            if layer is not None:
                layer.visible = True

    def close(self) -> None:
        """Follow the viewer no longer."""
        self._state.viewer.dims.events.current_step.disconnect(self.check)
        self._state.viewer.dims.events.ndisplay.disconnect(self.check)

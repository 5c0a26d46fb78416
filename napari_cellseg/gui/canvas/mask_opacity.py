"""`MaskOpacity`: Ctrl and the wheel change the opacity of all class layers."""

from __future__ import annotations

from typing import Any

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.showing import Showing
from napari_cellseg.gui.state import AppState

__all__ = ["MaskOpacity"]

_STEP, _LEAST = 5, 5
"""Per notch, and the least that the wheel leaves, %: `Showing` hides masks."""


class MaskOpacity:
    """One opacity for the layers of all classes, present and future.

    napari does not zoom while Ctrl is held; it moves the slider of a stack, and a stack keeps that.

    Parameters
    ----------
    state : AppState
    layers : ClassLayers
    showing : Showing
        Hidden masks are shown again by the wheel.
    """

    def __init__(self, state: AppState, layers: ClassLayers, showing: Showing) -> None:
        self._state, self._layers, self._showing = state, layers, showing
        self._percent: int | None = None
        self._changed: set[int] = set()
        self._turned = 0.0
        layers.ready.connect(self._on_ready)
        state.viewer.mouse_wheel_callbacks.append(self._on_wheel)

    def _on_wheel(self, viewer: Any, event: Any) -> None:
        if set(event.modifiers) != {"Control"} or self._state.session is None or _has_slider(viewer):
            return
        event.handled = True
        self._turned += float(event.delta[1])
        notches = int(self._turned)  # a touchpad sends parts of a notch
        self._turned -= notches
        if notches and not self._showing.is_held:
            self._change(viewer, notches)

    def _change(self, viewer: Any, notches: int) -> None:
        self._showing.show_all()
        active = viewer.layers.selection.active
        layer = active if isinstance(active, CellsLayer) else next(iter(self._layers), None)
        if layer is None:
            return
        percent = round(100 * float(layer.opacity)) + _STEP * notches
        self._percent = min(max(percent, _LEAST), 100)
        self._changed.clear()
        self._on_ready()
        viewer.status = f"Opacity of the masks: {self._percent} %"

    def _on_ready(self) -> None:
        """Give the opacity to the layers that do not have it; one that the user then changes keeps the user's."""
        if self._percent is None:
            return
        for layer in self._layers:
            if layer.class_id not in self._changed:
                self._changed.add(layer.class_id)
                layer.opacity = self._percent / 100


def _has_slider(viewer: Any) -> bool:
    dims = viewer.dims
    return any(dims.nsteps[axis] > 1 for axis in dims.not_displayed)

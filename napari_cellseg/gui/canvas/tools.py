"""`Tools`: the one tool of the user, for all class layers; napari keeps a mode for each layer."""

from __future__ import annotations

from enum import Enum
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.state import AppState

__all__ = ["Tool", "Tools"]


class Tool(Enum):
    """What the left mouse button does on the canvas."""

    POINT = "pan and select"
    BRUSH = "brush"
    ERASER = "eraser"
    FILL = "fill"
    POLYGON = "polygon"
    BOX = "box"
    LASSO = "lasso"
    CELL = "click a missed cell"


_MODES = {Tool.BRUSH: "paint", Tool.ERASER: "erase", Tool.FILL: "fill", Tool.POLYGON: "polygon"}
_TOOLS = {mode: tool for tool, mode in _MODES.items()}
_PAN = "pan_zoom"


class Tools(QObject):
    """Keeps the active class layer in the mode of the tool, and all other class layers in that of pointing.

    A tool chosen by napari's own buttons counts as well. The 3-D view, where no tool of a class layer works, is refused
    while an image is under review.
    """

    changed = Signal()
    """Another tool is chosen."""

    def __init__(self, state: AppState, layers: ClassLayers) -> None:
        super().__init__()
        self._state, self._layers = state, layers
        self._tool = Tool.POINT
        self._class_id = 1  # of the class layer that was active last
        self._is_writing = False
        for layer in layers:
            self._follow(layer)
        layers.layer_added.connect(self._follow)
        layers.ready.connect(self._write)
        state.current_changed.connect(self.point)
        state.viewer.layers.selection.events.active.connect(self._on_active)
        state.viewer.dims.events.ndisplay.connect(self._refuse_3d)
        state.viewer.dims.events.order.connect(self._refuse_transposed)

    @property
    def tool(self) -> Tool:
        """The tool of the user."""
        return self._tool

    @property
    def draws(self) -> bool:
        """Whether the tool changes pixels."""
        return self._tool in _MODES

    def choose(self, tool: Tool) -> None:
        """Use a tool on whichever class layer is active, now and later; one that draws activates a class layer."""
        self._layers.settle()
        if tool in _MODES:
            self._leave_the_image()
        is_other, self._tool = tool is not self._tool, tool
        self._write()
        if is_other:
            self.changed.emit()

    def point(self) -> None:
        """Return to panning and selecting."""
        self.choose(Tool.POINT)

    def _leave_the_image(self) -> None:
        """Activate the class layer of the selected cell, or the last active one, to draw on, unless one is active."""
        state = self._state
        if state.session is None or isinstance(state.viewer.layers.selection.active, CellsLayer):
            return
        cells = (state.session.cells.get(i) for i in state.selection)
        self._layers.activate(next((cell.class_id for cell in cells if cell is not None), self._class_id))
        self._layers.settle()

    def _follow(self, layer: CellsLayer) -> None:
        layer.events.mode.connect(lambda _: self._on_mode(layer))

    def _write(self) -> None:
        active = self._state.viewer.layers.selection.active
        self._is_writing = True
        try:
            for layer in self._layers:
                wanted = _MODES.get(self._tool, _PAN) if layer is active else _PAN
                if str(layer.mode) != wanted:
                    layer.mode = wanted
        finally:
            self._is_writing = False

    def _on_active(self, event: Any) -> None:
        if isinstance(event.value, CellsLayer):
            self._class_id = event.value.class_id
            self._write()

    def _on_mode(self, layer: CellsLayer) -> None:
        """Adopt a mode that was set by a button of napari."""
        if self._is_writing or layer is not self._state.viewer.layers.selection.active:
            return
        if self._tool in (Tool.BOX, Tool.LASSO, Tool.CELL) and str(layer.mode) == _PAN:
            return
        tool = _TOOLS.get(str(layer.mode), Tool.POINT)
        if tool is not self._tool:
            self._tool = tool
            self.changed.emit()

    def _refuse_3d(self, _: Any) -> None:
        dims = self._state.viewer.dims
        if dims.ndisplay == 3 and (self._state.session is not None or self._state.slide is not None):
            dims.ndisplay = 2
            show_info("No 3-D view while cells are under review.")

    def _refuse_transposed(self, _: Any) -> None:
        """Keep a slide upright: what is in view is read by rows and columns as they lie."""
        dims = self._state.viewer.dims
        if self._state.slide is not None and tuple(dims.order) != tuple(range(dims.ndim)):
            dims.order = tuple(range(dims.ndim))
            show_info("Rows and columns of a slide cannot be exchanged.")

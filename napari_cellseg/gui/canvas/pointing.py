"""Selecting cells on the canvas: click, Shift-click for more, a box or a lasso by tool or by Shift or Ctrl."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.sketch import Point, Sketch, to_pixels
from napari_cellseg.gui.canvas.tools import Tool, Tools
from napari_cellseg.gui.state import AppState
from napari_cellseg.review import CellFilter

__all__ = ["Pointing", "dragged_path"]

_CLICK_PX = 4
"""A mouse that moved less, in px of the screen, has clicked."""


class Pointing:
    """Turns the mouse on the canvas into a selection, as long as no layer draws."""

    def __init__(self, state: AppState, layers: ClassLayers, tools: Tools) -> None:
        self._state = state
        self._layers, self._tools = layers, tools
        self._sketch = Sketch(state.viewer)
        self.enabled = True
        state.viewer.mouse_drag_callbacks.append(self._on_press)

    def _on_press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        active = viewer.layers.selection.active
        draws = active is not None and str(active.mode) not in ("pan_zoom", "transform")
        if not self.enabled or self._state.session is None or draws or event.button != 1:
            return
        more = "Shift" in event.modifiers or "Control" in event.modifiers
        tool = self._tools.tool
        if tool is Tool.CELL and not more:  # `new_cell` follows the mouse
            return
        lasso = "Control" in event.modifiers or (not more and tool is Tool.LASSO)
        if not (more or lasso or tool is Tool.BOX):
            start = np.asarray(event.pos)
            yield
            while event.type == "mouse_move":
                yield
            if np.abs(np.asarray(event.pos) - start).max() <= _CLICK_PX:
                self._click(event.position, more=False)
            return
        path = yield from dragged_path(viewer, event, self._sketch, box=not lasso)
        self._sketch.clear()
        if path:
            before = self._state.selection if more else ()
            self._state.select(dict.fromkeys((*before, *self._inside(path, box=not lasso))))
        else:
            self._click(event.position, more=more)

    def _click(self, position: Any, *, more: bool) -> None:
        cell = self._layers.cell_at(position)
        if cell is None:
            if not more:
                self._state.select(())
            return
        chosen = self._state.selection
        if not more:
            self._state.select((cell.cell_id,))
        elif cell.cell_id in chosen:
            self._state.select(i for i in chosen if i != cell.cell_id)
        else:
            self._state.select((*chosen, cell.cell_id))
        self._layers.activate(cell.class_id)
        self._layers.settle()  # the next press may paint

    def _inside(self, path: list[Point], *, box: bool) -> tuple[int, ...]:
        session = self._state.session
        if session is None:
            return ()
        shown = [layer.class_id for layer in self._state.viewer.layers if _is_shown(layer)]
        if not box:
            return session.find(CellFilter(class_ids=shown, polygon=path))
        (ya, xa), (yb, xb) = path[0], path[2]
        corners = min(xa, xb), min(ya, yb), max(xa, xb) + 1, max(ya, yb) + 1
        x0, y0, x1, y1 = (int(np.floor(value)) for value in corners)
        return session.find(CellFilter(class_ids=shown, box=(x0, y0, x1, y1)))


def dragged_path(
    viewer: Any, event: Any, sketch: Sketch, *, box: bool = False, closed: bool = True
) -> Generator[None, None, list[Point]]:
    """Follow the mouse from its press, before the first ``yield`` of a callback, to its release, showing the way.

    Returns the way as (y, x) px; with ``box`` the four corners of the rectangle; empty when the mouse only clicked.
    """
    start, points = np.asarray(event.pos), [to_pixels(viewer, event.position)]
    moved = False
    shown: list[Point] = []
    yield
    while event.type == "mouse_move":
        moved = moved or np.abs(np.asarray(event.pos) - start).max() > _CLICK_PX
        points.append(to_pixels(viewer, event.position))
        if moved:
            (ya, xa), (yb, xb) = points[0], points[-1]
            shown = [(ya, xa), (ya, xb), (yb, xb), (yb, xa)] if box else points
            sketch.path(shown, closed=closed)
        event.handled = True
        yield
    return list(shown)


def _is_shown(layer: Any) -> bool:
    return isinstance(layer, CellsLayer) and layer.visible

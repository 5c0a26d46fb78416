"""`Sketch`: the line, lasso or points just being drawn on the canvas, in a layer that is shown and hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Shapes

from napari_cellseg.gui.canvas.camera import camera_of, forget_extent
from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layer_rows import lock, rename
from napari_cellseg.gui.canvas.old_objects import OldObjects

__all__ = ["Sketch", "to_pixels"]

Point = tuple[float, float]
"""(y, x) in px of the image."""


class Sketch:
    """A white line or points over the class layers; not editable, not selectable."""

    def __init__(self, viewer: Any, name: str = "sketch") -> None:
        self._viewer = viewer
        self._name = name
        self._layer: Shapes | None = None

    def path(self, points: Sequence[Point], *, closed: bool = False) -> None:
        """Show a line through two or more points."""
        if len(points) > 1:
            kind = "polygon" if closed and len(points) > 2 else "path"
            self._show([np.asarray(points, float)], kind)

    def outline(self, points: Sequence[Point], colour: str) -> None:
        """Show a closed line in a colour on white on black, unlike the contour of any cell and seen on any tissue."""
        ring = np.asarray([*points, points[0]], float)
        self._show([ring] * 3, "path", widths=(7, 5, 2), colours=("black", "white", colour))

    def dots(self, points: Sequence[Point]) -> None:
        """Show points."""
        radius = 4 / camera_of(self._viewer).zoom
        self._show([np.array([point, (radius, radius)]) for point in points], "ellipse")

    @property
    def is_removed(self) -> bool:
        """Whether the user removed the layer."""
        return self._layer is not None and self._layer not in self._viewer.layers

    def clear(self) -> None:
        """Hide it; the layer is kept for the next time: see `ClassLayers` on why none is taken away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.visible = False
            self._layer.data = []  # else "reset view" would include what is hidden
            forget_extent(self._layer)
            rename(self._viewer, self._layer, self._name, is_listed=False)

    def _show(
        self,
        shapes: list[Any],
        kind: str,
        widths: Sequence[float] | float = 2,
        colours: Sequence[str] | str = "white",
    ) -> None:
        layers = self._viewer.layers
        if self._layer is None or self._layer not in layers:
            chosen = layers.selection.active
            self._layer = Shapes(name=self._name, ndim=2, opacity=1.0)
            old_objects = OldObjects()
            old_objects.set_aside()
            self._viewer.add_layer(self._layer)
            old_objects.take_back()
            lock(self._layer)
            self._layer.mouse_pan = False
            layers.selection.active = chosen
        elif not self._layer.visible:
            layers.move(layers.index(self._layer), len(layers))  # over the layers that came since
            rename(self._viewer, self._layer, self._name, is_listed=True)
        self._layer.visible = True
        self._layer.data = []
        width = (np.asarray(widths) / camera_of(self._viewer).zoom).tolist()
        fill = "white" if kind == "ellipse" else "transparent"
        self._layer.add(shapes, shape_type=kind, edge_width=width, edge_color=colours, face_color=fill)
        self._layer.selected_data = set()


def to_pixels(viewer: Any, position: Sequence[float]) -> Point:
    """Turn a place in world coordinates into (y, x) in px of the class layers."""
    for layer in viewer.layers:
        if isinstance(layer, CellsLayer):
            y, x = layer.world_to_data(tuple(position))[-2:]
            return float(y), float(x)
    return float(position[-2]), float(position[-1])

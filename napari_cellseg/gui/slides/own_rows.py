"""Adds image layers of a slide to a viewer, quickly, and without a change of the active layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.gui.canvas.layer_rows import lock, rename
from napari_cellseg.gui.canvas.old_objects import OldObjects
from napari_cellseg.gui.canvas.plugin_image import PluginImage

__all__ = ["add_image_layer", "draw_never"]


def add_image_layer(
    viewer: Any, name: str, pixels: npt.NDArray[np.uint8], *, place: int | None = None, is_listed: bool = True
) -> Any:
    """Add a layer, at the top if no ``place`` is given; one that is not listed has no row in the layer list."""
    layers = viewer.layers
    chosen = layers.selection.active
    layer = PluginImage(pixels, name=name, rgb=True)
    old_objects = OldObjects()
    old_objects.set_aside()
    layers.insert(len(layers) if place is None else min(place, len(layers)), layer)
    old_objects.take_back()
    lock(layer)
    if not is_listed:
        rename(viewer, layer, name, is_listed=False)
    if chosen is not None:
        layers.selection.active = chosen
    return layer


def draw_never(viewer: Any, layer: Any) -> None:
    """Keep a layer that is only a row of the list out of the drawing; for vispy each would be a program of its own."""
    canvas = getattr(getattr(getattr(viewer, "window", None), "_qt_viewer", None), "canvas", None)
    node: Any = getattr(getattr(canvas, "layer_to_visual", {}).get(layer), "node", None)
    if hasattr(node, "parent"):
        node.parent = None

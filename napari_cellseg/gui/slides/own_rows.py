"""Image layers of a slide: added without a change of the active layer, and moved with few events."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.gui.canvas.layer_rows import lock, rename
from napari_cellseg.gui.canvas.old_objects import OldObjects
from napari_cellseg.gui.canvas.plugin_image import PluginImage

__all__ = ["add_image_layer", "draw_never", "place_pixels"]

_MOVED = ("data", "scale", "translate")


def add_image_layer(
    viewer: Any,
    name: str,
    pixels: npt.NDArray[np.uint8],
    *,
    place: int | None = None,
    is_listed: bool = True,
    is_view: bool = True,
) -> Any:
    """Add a layer, at the top if no ``place`` is given.

    One that is not listed has no row in the layer list. One that ``is_view`` follows the view, and so does not tell the
    viewer how large all layers are together: that takes 20 ms each time, and the overview of the slide tells it.
    """
    layers = viewer.layers
    chosen = layers.selection.active
    layer = PluginImage(pixels, name=name, rgb=True)
    old_objects = OldObjects()
    old_objects.set_aside()
    layers.insert(len(layers) if place is None else min(place, len(layers)), layer)
    old_objects.take_back()
    lock(layer)
    for event in _MOVED if is_view else ():
        with suppress(AttributeError, ValueError):  # another version of napari
            getattr(layer.events, event).disconnect(viewer._on_layers_change)
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


def place_pixels(layer: Any, pixels: npt.NDArray[np.uint8], corner: tuple[float, float], factor: float) -> None:
    """Show pixels (h, w, 3|4) in a layer: their corner x, y and the side of one, px of the slide."""
    # napari puts the middle of the first pixel at the origin, of the slide as of this picture
    scale, translate = (factor, factor), (corner[1] + (factor - 1) / 2, corner[0] + (factor - 1) / 2)
    with layer._block_refresh() if hasattr(layer, "_block_refresh") else nullcontext():
        if tuple(layer.scale) != scale:
            layer.scale = scale
        if tuple(layer.translate) != translate:
            layer.translate = translate
    layer.data = pixels  # draws it

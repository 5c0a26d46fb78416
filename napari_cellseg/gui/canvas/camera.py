"""The camera, moving it to a cell, and what napari must be told about the canvas."""

from __future__ import annotations

from typing import Any

from napari_cellseg.review import Box

__all__ = ["camera_of", "forget_extent", "is_in_view", "move_to"]

_SMALLEST, _LARGEST = 60, 350
"""How large a cell is to be seen, px of the screen; between the two the user's zoom is kept."""
_SPECK = 15
"""A smaller cell is not magnified more than one of this size, px of the image: its surroundings say what it is."""


def camera_of(viewer: Any) -> Any:
    """Return the camera of a viewer; napari 0.9 moved it to its scene."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def move_to(viewer: Any, box: Box) -> None:
    """Put the middle of a box in the middle of the canvas, and zoom when it would be too small or too large."""
    x0, y0, x1, y1 = box
    size = max(x1 - x0, y1 - y0, _SPECK)
    camera = camera_of(viewer)
    camera.center = ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
    zoom = min(max(camera.zoom, _SMALLEST / size), _LARGEST / size)
    if zoom != camera.zoom:
        camera.zoom = zoom


def is_in_view(layer: Any, box: Box) -> bool:
    """Whether a layer's part on the canvas holds the whole box."""
    (top, left), (bottom, right) = layer.corner_pixels[:, -2:].tolist()
    x0, y0, x1, y1 = box
    return bool(left <= x0 and top <= y0 and x1 <= right + 1 and y1 <= bottom + 1)


def forget_extent(layer: Any) -> None:
    """Let napari measure a layer again; it does not when the data of a hidden layer get another size."""
    layer._clear_extent()

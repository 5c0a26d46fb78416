"""The camera, moving it to a cell, and what napari must be told about the canvas."""

from __future__ import annotations

import math
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_cellseg.review import Box

__all__ = ["camera_of", "canvas_widget", "fit_image", "forget_extent", "is_in_view", "move_to", "view_box"]

_SMALLEST, _LARGEST = 60, 350
"""How large a cell is to be seen, px of the screen; between the two the user's zoom is kept."""
_MARGIN = 0.05
"""Share of the canvas that stays free around an image that is shown whole."""
_SPECK = 15
"""A smaller cell is not magnified more than one of this size, px of the image: its surroundings say what it is."""


def camera_of(viewer: Any) -> Any:
    """Return the camera of a viewer; napari 0.9 moved it to its scene."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def canvas_widget(viewer: Any) -> QWidget | None:
    """Return the widget that shows the image; None for a viewer without a window."""
    canvas = getattr(getattr(getattr(viewer, "window", None), "_qt_viewer", None), "canvas", None)
    return getattr(canvas, "native", None)


def fit_image(viewer: Any, image_size: tuple[int, int]) -> None:
    """Show a whole image, (height, width) px, in the middle of the canvas.

    napari's own ``reset_view`` fits all layers, and while images change the class layers still have the size of the
    image before: a small image after a large one became a stamp in the corner.
    """
    camera = camera_of(viewer)
    camera.center = tuple((side - 1) / 2 for side in image_size)
    camera.zoom = (1 - _MARGIN) * min(
        canvas / side for canvas, side in zip(_canvas_size(viewer), image_size, strict=True)
    )


def move_to(viewer: Any, box: Box, image_size: tuple[int, int]) -> None:
    """Put a box in the middle of the canvas, and zoom when it would be too small or too large.

    Near the border of an image the view stays inside it, so that the canvas shows tissue and not the black around it.
    """
    x0, y0, x1, y1 = box
    size = max(x1 - x0, y1 - y0, _SPECK)
    camera = camera_of(viewer)
    zoom = min(max(camera.zoom, _SMALLEST / size), _LARGEST / size)
    middle = ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
    camera.center = tuple(
        _inside(where, side, canvas / zoom)
        for where, side, canvas in zip(middle, image_size, _canvas_size(viewer), strict=True)
    )
    if zoom != camera.zoom:
        camera.zoom = zoom


def _inside(where: float, side: int, view: float) -> float:
    """Return the centre nearest to ``where`` at which a view, px of the image, does not leave an image of that side."""
    if view >= side:
        return (side - 1) / 2
    return min(max(where, (view - 1) / 2), side - (view + 1) / 2)


def _canvas_size(viewer: Any) -> tuple[int, int]:
    """Return the height and width of the canvas, px of the screen; napari 0.9 moved it to its canvas."""
    height, width = viewer.canvas.size if hasattr(viewer, "canvas") else viewer._canvas_size
    return int(height), int(width)


def view_box(viewer: Any) -> Box:
    """Return the box in view, (x0, y0, x1, y1) px of the image; it may reach beyond the image."""
    camera = camera_of(viewer)
    (y0, y1), (x0, x1) = (
        (math.floor(where - canvas / camera.zoom / 2 + 0.5), math.ceil(where + canvas / camera.zoom / 2 + 0.5))
        for where, canvas in zip(camera.center[-2:], _canvas_size(viewer), strict=True)
    )
    return x0, y0, x1, y1


def is_in_view(layer: Any, box: Box) -> bool:
    """Whether a layer's part on the canvas holds the whole box."""
    (top, left), (bottom, right) = layer.corner_pixels[:, -2:].tolist()
    x0, y0, x1, y1 = box
    return bool(left <= x0 and top <= y0 and x1 <= right + 1 and y1 <= bottom + 1)


def forget_extent(layer: Any) -> None:
    """Let napari measure a layer again; it does not when the data of a hidden layer get another size."""
    layer._clear_extent()

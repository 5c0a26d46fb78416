"""Which part of a slide the canvas shows, and at which resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_cellseg.gui.canvas.camera import camera_of, view_box

__all__ = ["Box", "View", "view_of"]

Box = tuple[int, int, int, int]

_MARGIN = 0.15
"""Share of the view that is made on each side of it, so that a short way of the camera needs nothing new."""
_DENSEST = 0.75
"""A pixel of the screen shows at least this part of a pixel of the picture, along a side."""


@dataclass(frozen=True)
class View:
    """What is in view.

    Attributes
    ----------
    box : (x0, y0, x1, y1)
        px of the slide, inside it; empty if the slide is not in view.
    wide : (x0, y0, x1, y1)
        The same with a margin.
    factor : float
        Side of a pixel of the screen, px of the slide, in steps of two: 1, 2, 4, ...
    zoom : float
        Side of a pixel of the slide, px of the screen.
    """

    box: Box
    wide: Box
    factor: float
    zoom: float

    @property
    def is_empty(self) -> bool:
        """Return whether nothing of the slide is in view."""
        return self.box[2] <= self.box[0] or self.box[3] <= self.box[1]

    def is_in(self, box: tuple[float, float, float, float]) -> bool:
        """Return whether all of the view is in a box, to a pixel of the screen."""
        slack = self.factor
        (x0, y0, x1, y1), mine = box, self.box
        return x0 - slack <= mine[0] and y0 - slack <= mine[1] and mine[2] <= x1 + slack and mine[3] <= y1 + slack


def view_of(viewer: Any, size: tuple[int, int]) -> View:
    """Return what the canvas shows of a slide of (height, width) px."""
    x0, y0, x1, y1 = view_box(viewer)
    zoom = float(camera_of(viewer).zoom)
    factor = 1.0
    while 2 * factor * _DENSEST * zoom <= 1:
        factor *= 2
    dx, dy = round((x1 - x0) * _MARGIN), round((y1 - y0) * _MARGIN)
    return View(_inside((x0, y0, x1, y1), size), _inside((x0 - dx, y0 - dy, x1 + dx, y1 + dy), size), factor, zoom)


def _inside(box: Box, size: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = box
    height, width = size
    return max(0, x0), max(0, y0), min(width, x1), min(height, y1)

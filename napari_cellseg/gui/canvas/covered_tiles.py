"""Of a class layer only the squares that hold cells are drawn.

A renderer without a graphics card takes as long for an empty pixel as for a cell, and for four layers that cover the
canvas longer than for all else. vispy draws an image as a grid of quads; here the grid has holes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CoveredTiles", "draw_covered_tiles"]

_TILE = 32
"""Side of a square, px of the image: about a cell and a half."""
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]])
"""Of the two triangles of a square, x and y."""


class CoveredTiles:
    """Which squares of a picture have anything to show; some that no longer do are kept, which costs little."""

    def __init__(self) -> None:
        self._covered: npt.NDArray[np.bool_] | None = None
        self.on_change: Callable[[], None] = lambda: None

    def forget(self) -> None:
        """Scan the whole label image again at the next draw."""
        self._covered = None
        self.on_change()

    def look(self, window: npt.NDArray[np.uint8], top: int, left: int) -> None:
        """Look at a part of the picture that was painted again."""
        if self._covered is None:
            return
        y, x = np.nonzero(window)
        tiles = (y + top) // _TILE, (x + left) // _TILE
        if not self._covered[tiles].all():
            self._covered[tiles] = True
            self.on_change()

    def corners(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the corners of the triangles to draw, (6 * squares, 2) float32 as x, y in px; one point for none."""
        height, width = picture.shape
        if self._covered is None:
            # The highest value of each strip; `ufunc.reduceat` is twenty times slower.
            rows = np.stack([picture[top : top + _TILE].max(0) for top in range(0, height, _TILE)])
            columns = [rows[:, left : left + _TILE].max(1) for left in range(0, width, _TILE)]
            self._covered = np.stack(columns, 1) > 0
        y, x = np.nonzero(self._covered)
        first = np.stack([x, y], 1)[:, None] * _TILE
        corners = np.minimum(first + _CORNERS * _TILE, (width, height)).reshape(-1, 2).astype(np.float32)
        return corners if len(corners) else np.zeros((6, 2), np.float32)


def draw_covered_tiles(viewer: Any, layer: Any) -> None:
    """Draw only the covered squares of a `CellsLayer` that was just added; all of it where vispy is another one."""
    canvas = getattr(getattr(getattr(viewer, "window", None), "_qt_viewer", None), "canvas", None)
    visual = getattr(canvas, "layer_to_visual", {}).get(layer)
    node: Any = getattr(visual, "node", None)
    parts = ("_build_vertex_data", "_subdiv_position", "_subdiv_texcoord", "_need_vertex_update", "size")
    if not all(hasattr(node, part) for part in parts):
        return
    build_all = node._build_vertex_data

    def build() -> None:
        picture = layer.shown
        size = tuple(node.size)
        if picture is None or picture.shape != size[::-1]:  # napari halves what is too large for a texture
            build_all()
            return
        corners = layer.tiles.corners(picture)
        node._subdiv_position.set_data(corners)
        node._subdiv_texcoord.set_data(corners / np.array(size, np.float32))
        node._need_vertex_update = False

    def build_later() -> None:
        node._need_vertex_update = True
        node.update()

    node._build_vertex_data = build
    layer.tiles.on_change = build_later
    build_later()

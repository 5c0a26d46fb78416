"""`SlideOutline`: the white outline of the selected cell of a slide."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_cellseg.formats.cell_reader import StoredCell
from napari_cellseg.gui.slides.cell_pictures import contour_of
from napari_cellseg.gui.slides.own_rows import add_image_layer, place_pixels
from napari_cellseg.gui.slides.view import View

__all__ = ["SlideOutline"]

_NAME = "selected cell"
_WIDTH_PX = 2
"""Of the outline, px of the screen."""


class SlideOutline:
    """A layer of its own, so that a selection draws nothing else again; kept when it is hidden."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Any = None
        self._shown: tuple[StoredCell, int] | None = None

    def show(self, cell: StoredCell | None, view: View | None, factor: float) -> None:
        """Outline a cell, or none; ``factor`` is the side of a pixel of its mask, px of the slide."""
        if cell is None or view is None:
            if self._layer is not None and self._layer.visible:
                self._layer.visible = False
            self._shown = None
            return
        width = max(1, round(_WIDTH_PX / (view.zoom * factor)))
        if self._shown is not None and self._shown[0] is cell and self._shown[1] == width:
            return
        self._shown = cell, width
        if self._layer is None or self._layer not in self._viewer.layers:
            self._layer = add_image_layer(self._viewer, _NAME, np.zeros((1, 1, 4), np.uint8), is_listed=False)
        corner = (cell.box[0] - width) * factor, (cell.box[1] - width) * factor
        place_pixels(self._layer, contour_of(cell.mask, width), corner, factor)
        self._layer.visible = True

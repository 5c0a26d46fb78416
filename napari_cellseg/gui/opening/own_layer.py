"""`OwnLayer`: the image layer that shows the image of the open folder; the other image layers are the user's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.gui.canvas.camera import fit_image, forget_extent
from napari_cellseg.gui.canvas.layer_rows import lock
from napari_cellseg.gui.canvas.plugin_image import PluginImage
from napari_cellseg.gui.state import AppState

__all__ = ["OwnLayer"]


class OwnLayer:
    """One layer for all images of a viewer: see `ClassLayers` on why none is taken away."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._layer: Any = None

    def bring(self, name: str) -> None:
        """Put the layer, still empty, at the bottom of the canvas, unless it is there."""
        if self._layer is None or self._layer not in self._state.viewer.layers:
            self._layer = PluginImage(np.zeros((1, 1, 3), np.uint8), name=name, rgb=True)
            self._state.viewer.layers.insert(0, self._layer)
            lock(self._layer)

    def show(self, rgb: npt.NDArray[np.uint8], name: str) -> None:
        """Show an image, (H, W, 3), and fit it to the canvas."""
        self._layer.data, self._layer.name = rgb, name
        self._layer.visible = True
        forget_extent(self._layer)
        fit_image(self._state.viewer, (rgb.shape[0], rgb.shape[1]))

    def preview(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Show the same image with other brightness; the camera stays."""
        if self._layer is not None and self._layer.data.shape == rgb.shape:
            self._layer.data = rgb

    def empty(self) -> None:
        """Show no image, and keep none of the image before."""
        if self._layer is not None:
            self._layer.data, self._layer.name = np.zeros((1, 1, 3), np.uint8), "no image"
            self._layer.visible = False
            self._layer.thumbnail = np.zeros_like(self._layer.thumbnail)  # napari draws none of a hidden layer
            forget_extent(self._layer)

    def hide(self) -> None:
        """Show no image."""
        if self._layer is not None:
            self._layer.visible = False

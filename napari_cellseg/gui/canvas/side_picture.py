"""`SidePicture`: one image layer next to the image, which brings the camera back when it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.gui.canvas.camera import camera_of, forget_extent
from napari_cellseg.gui.canvas.layer_rows import rename
from napari_cellseg.gui.canvas.plugin_image import PluginImage
from napari_cellseg.gui.state import AppState

__all__ = ["GAP_PX", "SidePicture"]

GAP_PX = 40


class SidePicture:
    """A picture to the right of the image on the canvas."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._layer: Any = None
        self._is_shown = False
        self._camera: tuple[Any, float] | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the picture is on the canvas."""
        self.forget_if_removed()
        return self._is_shown

    def forget_if_removed(self) -> bool:
        """Return whether the user removed the picture since the last look."""
        if self._layer is None or self._layer in self._state.viewer.layers:
            return False
        was_shown, self._layer, self._is_shown = self._is_shown, None, False
        return was_shown

    def show(self, rgb: npt.NDArray[np.uint8], name: str, width: int) -> None:
        """Show a picture, (H, W, 3), next to an image of ``width`` px, in view as a whole."""
        viewer = self._state.viewer
        if self.is_shown:
            self._layer.data, self._layer.name = rgb, name
            return
        active, camera = viewer.layers.selection.active, camera_of(viewer)
        self._camera = camera.center, camera.zoom
        self._is_shown, place = True, (0, width + GAP_PX)
        if self._layer is None:
            self._layer = viewer.add_layer(PluginImage(rgb, name=name, rgb=True, translate=place))
        else:
            self._layer.data, self._layer.translate, self._layer.visible = rgb, place, True
            rename(viewer, self._layer, name, is_listed=True)
            forget_extent(self._layer)
        viewer.layers.selection.active = active  # the user may be painting
        viewer.reset_view()

    def hide(self) -> None:
        """Hide the picture, and show what was in view before; see `ClassLayers` on why the layer is kept."""
        if not self.is_shown:
            return
        self._is_shown = self._layer.visible = False
        self._layer.data, self._layer.translate = np.zeros((1, 1, 3), np.uint8), (0, 0)
        rename(self._state.viewer, self._layer, self._layer.name, is_listed=False)
        forget_extent(self._layer)
        if self._camera is not None:
            camera = camera_of(self._state.viewer)
            camera.center, camera.zoom = self._camera

    def forget_view(self) -> None:
        """Leave the camera as it is when the picture leaves: another image is on the canvas."""
        self._camera = None

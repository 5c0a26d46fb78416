"""`SidePicture`: one image layer next to the image, which brings the camera back when it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.gui.canvas.camera import camera_of, forget_extent
from napari_cellseg.gui.canvas.layer_rows import rename
from napari_cellseg.gui.state import AppState

__all__ = ["GAP_PX", "SidePicture"]

GAP_PX = 40


class SidePicture:
    """A picture to the right of the image on the canvas."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._layer: Any = None
        self._kept: Any = None
        self._camera: tuple[Any, float] | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the picture is on the canvas."""
        self.forget_if_removed()
        return self._layer is not None

    def forget_if_removed(self) -> bool:
        """Return whether the user removed the layer since the last look."""
        is_removed = self._layer is not None and self._layer not in self._state.viewer.layers
        if is_removed:
            self._layer = None
        return is_removed

    def show(self, rgb: npt.NDArray[np.uint8], name: str, width: int) -> None:
        """Show a picture, (H, W, 3), next to an image of ``width`` px, in view as a whole."""
        viewer = self._state.viewer
        if self.is_shown:
            self._layer.data, self._layer.name = rgb, name
            return
        active, camera = viewer.layers.selection.active, camera_of(viewer)
        self._camera = camera.center, camera.zoom
        if self._kept is not None and self._kept in viewer.layers:
            self._layer = self._kept
            self._layer.data, self._layer.translate, self._layer.visible = rgb, (0, width + GAP_PX), True
            rename(viewer, self._layer, name, is_listed=True)
            forget_extent(self._layer)
        else:
            self._layer = self._kept = viewer.add_image(rgb, name=name, rgb=True, translate=(0, width + GAP_PX))
        viewer.layers.selection.active = active  # the user may be painting
        viewer.reset_view()

    def hide(self) -> None:
        """Hide the picture, and show what was in view before; see `ClassLayers` on why the layer is kept."""
        if self.is_shown:
            self._layer.visible = False
            self._layer.data, self._layer.translate = np.zeros((1, 1, 3), np.uint8), (0, 0)
            rename(self._state.viewer, self._layer, self._layer.name, is_listed=False)
            forget_extent(self._layer)
            if self._camera is not None:
                camera = camera_of(self._state.viewer)
                camera.center, camera.zoom = self._camera
        self._layer = None

    def forget_view(self) -> None:
        """Leave the camera as it is when the picture leaves: another image is on the canvas."""
        self._camera = None

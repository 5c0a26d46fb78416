"""Examples of the last validation as a layer: ground truth and prediction side by side."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from qtpy.QtCore import QObject, Signal

from napari_cellseg.gui.canvas.camera import camera_of, forget_extent
from napari_cellseg.gui.canvas.layer_rows import rename
from napari_cellseg.gui.canvas.plugin_image import PluginImage
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from training.run_folder import RunFolder

__all__ = ["ExampleLayer", "last_examples"]

_GAP = 40
_NAME = re.compile(r"epoch(\d+)_.*\.png")


class ExampleLayer(QObject):
    """One image layer next to the current image with the examples of the last validation; made on demand.

    Parameters
    ----------
    state : AppState
    """

    changed = Signal()
    """Emitted when the examples are shown or hidden."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._state = state
        self._layer: Any = None
        self._kept: Any = None
        self._camera: tuple[Any, float] | None = None
        self.job = Job(state, "reading examples")
        self.job.finished.connect(self._show)
        state.viewer.layers.events.removed.connect(self._on_removed)
        state.current_changed.connect(self._leave)

    @property
    def is_shown(self) -> bool:
        """Return whether the examples are on the canvas."""
        return self._layer is not None

    def show(self, run_folder: Path) -> None:
        """Show the examples of the last validation of a run, or update the layer."""
        self.job.start(lambda: _read(run_folder))

    def hide(self) -> None:
        """Hide the layer; see `ClassLayers` on why it is kept."""
        layer, self._layer = self._layer, None
        if layer is None:
            return
        layer.visible = False
        layer.data, layer.translate = np.zeros((1, 1, 3), np.uint8), (0, 0)
        rename(self._state.viewer, layer, layer.name, is_listed=False)
        forget_extent(layer)
        if self._camera is not None:
            camera = camera_of(self._state.viewer)
            camera.center, camera.zoom = self._camera
        self.changed.emit()

    def _leave(self) -> None:
        """Hide the layer with the image that it lay next to; the camera is that of the next image."""
        self.job.stop()
        self._camera = None
        self.hide()

    def _show(self, found: tuple[int, npt.NDArray[np.uint8]] | None) -> None:
        if found is None:
            return
        epoch, picture = found
        viewer, name = self._state.viewer, f"Examples of epoch {epoch}: ground truth | prediction"
        if self._layer is not None:
            self._layer.data, self._layer.name = picture, name
            return
        image = self._state.image
        offset = 0 if image is None else image.size[1] + _GAP
        active = viewer.layers.selection.active
        camera = camera_of(viewer)
        self._camera = (camera.center, camera.zoom)
        if self._kept is not None and self._kept in viewer.layers:
            self._layer = self._kept
            self._layer.data, self._layer.translate, self._layer.visible = picture, (0, offset), True
            rename(viewer, self._layer, name, is_listed=True)
            forget_extent(self._layer)
        else:
            layer = PluginImage(picture, name=name, rgb=True, translate=(0, offset))
            self._layer = self._kept = viewer.add_layer(layer)
        viewer.layers.selection.active = active  # the user may be painting
        viewer.reset_view()
        self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer and self._layer is not None:
            self._layer = None
            self.changed.emit()


def last_examples(run_folder: Path) -> tuple[int, list[Path]]:
    """Return the last epoch that has examples, and their files; 0 and none before the first."""
    files = {path: _NAME.fullmatch(path.name) for path in RunFolder(run_folder).examples.glob("epoch*.png")}
    epochs = {path: int(match[1]) for path, match in files.items() if match}
    last = max(epochs.values(), default=0)
    return last, sorted(path for path, epoch in epochs.items() if epoch == last)


def _read(run_folder: Path) -> Generator[None, None, tuple[int, npt.NDArray[np.uint8]] | None]:
    """Read the examples and stack them vertically."""
    epoch, paths = last_examples(run_folder)
    pictures = []
    for path in paths:
        with Picture.open(path) as picture:
            pictures.append(np.asarray(picture.convert("RGB")))
        yield None
    if not pictures:
        return None
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(p, ((0, 8), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    return epoch, np.concatenate(padded)

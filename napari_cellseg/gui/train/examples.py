"""Examples of the last validation as a layer: ground truth and prediction side by side."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from qtpy.QtCore import QObject, Signal

from napari_cellseg.gui.canvas.side_picture import SidePicture
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from training.run_folder import RunFolder

__all__ = ["ExampleLayer", "last_examples"]

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
        self._side = SidePicture(state)
        self.job = Job(state, "reading examples")
        self.job.finished.connect(self._show)
        state.viewer.layers.events.removed.connect(self._on_removed)
        state.current_changed.connect(self._leave)

    @property
    def is_shown(self) -> bool:
        """Return whether the examples are on the canvas."""
        return self._side.is_shown

    def show(self, run_folder: Path) -> None:
        """Show the examples of the last validation of a run, or update the layer."""
        self.job.start(lambda: _read(run_folder))

    def hide(self) -> None:
        """Hide the layer."""
        if self._side.is_shown:
            self._side.hide()
            self.changed.emit()

    def _leave(self) -> None:
        """Hide the layer with the image that it lay next to; the camera is that of the next image."""
        self.job.stop()
        self._side.forget_view()
        self.hide()

    def _show(self, found: tuple[int, npt.NDArray[np.uint8]] | None) -> None:
        if found is None:
            return
        epoch, picture = found
        was_shown, image = self.is_shown, self._state.image
        name = f"Examples of epoch {epoch}: ground truth | prediction"
        self._side.show(picture, name, 0 if image is None else image.size[1])
        if not was_shown:
            self.changed.emit()

    def _on_removed(self, _: object) -> None:
        if self._side.forget_if_removed():
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

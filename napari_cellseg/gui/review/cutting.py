"""`Cutting`: split a cell by a line drawn across it, or by two or more clicked seeds and Enter; Esc gives up."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.pointing import dragged_path
from napari_cellseg.gui.canvas.sketch import Point, Sketch, to_pixels

__all__ = ["Cutting"]


class Cutting(QObject):
    """The mode of the canvas while a cell is being split.

    Parameters
    ----------
    viewer : napari.Viewer
    on_line, on_seeds : callable(cell_id, points)
        Called with the drawn line or the clicked seeds, (y, x) px of the image; the mode is over then.
    """

    changed = Signal()
    """It began, went on or ended; `hint` is another."""

    def __init__(
        self,
        viewer: Any,
        on_line: Callable[[int, list[Point]], None],
        on_seeds: Callable[[int, list[Point]], None],
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._on_line, self._on_seeds = on_line, on_seeds
        self._sketch = Sketch(viewer)
        self._seeds: list[Point] = []
        self._pans: bool = True
        self.cell_id: int | None = None

    @property
    def hint(self) -> str:
        """What to do next, in words; empty while nothing is being split."""
        if self.cell_id is None:
            return ""
        if not self._seeds:
            return f"Split #{self.cell_id}: draw a line across it, or click a seed in each part. Esc gives up."
        return f"Split #{self.cell_id}: {len(self._seeds)} seeds. Click more, then Enter. Esc gives up."

    def start(self, cell_id: int) -> None:
        """Begin to split a cell."""
        self.stop()
        self.cell_id = cell_id
        layer = self._viewer.layers.selection.active
        if layer is not None and str(layer.mode) != "pan_zoom":
            layer.mode = "pan_zoom"
        self._pans, camera_of(self._viewer).mouse_pan = camera_of(self._viewer).mouse_pan, False
        self._viewer.mouse_drag_callbacks.append(self._on_press)
        self.changed.emit()

    def stop(self) -> None:
        """Give up."""
        if self.cell_id is None:
            return
        self.cell_id = None
        self._seeds = []
        self._sketch.clear()
        self._viewer.mouse_drag_callbacks.remove(self._on_press)
        camera_of(self._viewer).mouse_pan = self._pans
        self.changed.emit()

    def finish(self) -> None:
        """Cut at the seeds clicked so far."""
        cell_id, seeds = self.cell_id, self._seeds
        if cell_id is not None:
            self.stop()
            self._on_seeds(cell_id, seeds)

    def _on_press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        line = yield from dragged_path(viewer, event, self._sketch, closed=False)
        cell_id = self.cell_id
        if cell_id is None:  # given up with the button down
            self._sketch.clear()
        elif line:
            self.stop()
            self._on_line(cell_id, line)
        else:
            self._seeds.append(to_pixels(viewer, event.position))
            self._sketch.dots(self._seeds)
            self.changed.emit()

"""`RegionTool`: draws the region of interest of the image, and shows it as an outline."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.pointing import dragged_path
from napari_cellseg.gui.canvas.sketch import Point, Sketch
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_info
from napari_cellseg.review import Change, ReviewSession
from napari_cellseg.review.region import LEAST_SIDE_PX, Region, inside, placed_region, tidy_region

__all__ = ["RegionTool"]

_COLOUR = "#f0e442"
_ZOOM_MS = 100
"""The outline gets the width for another zoom after this time."""
_HINT = "Drag a box around the region of interest, or hold Ctrl and draw around it. A click removes it, Esc keeps it."
_SLIDE_HINT = (
    "Drag a box around the region to segment, or hold Ctrl and draw around it. A click removes it, Esc keeps it."
)


class RegionTool(QObject):
    """The mode in which the next drag draws the region. A change of the region is saved immediately, for *Train*.

    On a slide, the region is the part that *Segment* predicts.

    Parameters
    ----------
    state : AppState
    layers : ClassLayers
    opener : Opener
        Saves.
    run : callable
        Does a command on the session; returns None, after it told the user the reason, when that is not possible.
    """

    changed = Signal()
    """It began or ended, or there is another region."""

    def __init__(
        self,
        state: AppState,
        layers: ClassLayers,
        opener: Opener,
        run: Callable[[Callable[[ReviewSession], Change]], Change | None],
    ) -> None:
        super().__init__()
        self._state, self._opener, self._run = state, opener, run
        self._drawn, self._outline = Sketch(state.viewer), Sketch(state.viewer, "region of interest")
        self._pans: bool = True
        self._shown: Region = ()
        self.is_drawing = False
        self._saved_soon, self._zoomed, self._back = QTimer(self), QTimer(self), QTimer(self)
        for timer, wait_ms, call in (
            (self._saved_soon, 0, opener.save),
            (self._zoomed, _ZOOM_MS, self._show),
            (self._back, 0, self._bring_back),
        ):
            timer.setSingleShot(True)
            timer.setInterval(wait_ms)
            timer.timeout.connect(call)
        camera_of(state.viewer).events.zoom.connect(lambda _: self._zoomed.start() if self._shown else None)
        layers.session_changed.connect(self._on_change)
        layers.ready.connect(self._show)
        state.current_changed.connect(self._on_current)
        state.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def hint(self) -> str:
        """What to do next; empty while no region is drawn."""
        if not self.is_drawing:
            return ""
        return _HINT if self._state.slide is None else _SLIDE_HINT

    def toggle(self) -> None:
        """Begin to draw the region, or stop."""
        if self.is_drawing:
            self.stop()
            return
        viewer = self._state.viewer
        self.is_drawing = True
        self._pans, camera_of(viewer).mouse_pan = camera_of(viewer).mouse_pan, False
        viewer.mouse_drag_callbacks.append(self._on_press)
        viewer.status = self.hint
        self.changed.emit()

    def stop(self) -> None:
        """Stop drawing; the region stays as it was."""
        viewer = self._state.viewer
        if not self.is_drawing or viewer is None:
            return
        self.is_drawing = False
        self._drawn.clear()
        viewer.mouse_drag_callbacks.remove(self._on_press)
        camera_of(viewer).mouse_pan = self._pans
        self.changed.emit()

    def close(self) -> None:
        """Stop all timers."""
        self.stop()
        self._saved_soon.stop()
        self._zoomed.stop()
        self._back.stop()

    # ---- drawing ----

    def _on_press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        is_box = "Control" not in event.modifiers
        path = yield from dragged_path(viewer, event, self._drawn, box=is_box)
        session, slide = self._state.session, self._state.slide
        if not self.is_drawing or (session is None and slide is None):  # stopped with the button down
            self._drawn.clear()
            return
        if slide is not None:
            self._use_on_slide(path, slide.levels.size)
            return
        assert session is not None, "there is one without a slide"
        region = tidy_region(path, session.image_size) if path else ()
        placed = placed_region(region, session.image_size)
        self.stop()
        if path and (placed is None or min(placed[1].shape) < LEAST_SIDE_PX):
            viewer.status = f"The region must be {LEAST_SIDE_PX} px wide and high, or more, and inside the image."
            return
        if self._run(lambda session: session.describe(replace(session.about, region=region))) is not None:
            viewer.status = self._told(session)

    def _use_on_slide(self, path: list[Point], size: tuple[int, int]) -> None:
        """Use a drawn region for *Segment*; no path removes it. A mask of a whole slide would not fit into memory."""
        self.stop()
        ends = np.clip(np.asarray(path, float).reshape(-1, 2), -0.5, (size[0] - 0.5, size[1] - 0.5)).round(1)
        height, width = (round(side) for side in np.ptp(ends, 0)) if len(ends) else (0, 0)
        viewer = self._state.viewer
        if path and min(height, width) < LEAST_SIDE_PX:
            viewer.status = f"The region must be {LEAST_SIDE_PX} px wide and high, or more, and inside the slide."
            return
        self._state.set_slide_region(tuple((float(y), float(x)) for y, x in ends.tolist()))
        self._show()
        viewer.status = (
            f"Region: {width:,} x {height:,} px. Segment predicts only the tiles of the region."
            if path
            else "No region: Segment predicts the whole slide."
        )

    def _told(self, session: ReviewSession) -> str:
        region = session.about.region
        placed = placed_region(region, session.image_size)
        if placed is None:
            return "The whole image is of interest."
        cells = session.instances()
        outside = len(cells) - int(inside(cells, region).sum())
        height, width = placed[1].shape
        return (
            f"Region of interest: {width} x {height} px. Training and evaluation use only this part; "
            f"{outside:,} of {len(cells):,} cells lie outside."
        )

    # ---- showing ----

    def _on_current(self) -> None:
        self.stop()
        self._outline.clear()
        self._shown = ()
        if self._state.slide_region:
            self._zoomed.start()  # once the layers of the slide are there, so that the outline is above them

    def _on_change(self, change: Change) -> None:
        if change.about is not None and change.about.region != self._shown:
            self._show()
            self._saved_soon.start()

    def _on_removed(self, _: object) -> None:
        """Bring the outline back if the user removed its layer: the region itself is still there."""
        if self._shown and self._outline.is_removed and not self._state.is_closed:
            self._back.start()

    def _bring_back(self) -> None:
        if self._shown and self._outline.is_removed:
            self._show()
            what = "region of interest" if self._state.slide is None else "region"
            show_info(f"The {what} is back. G, then a click on the image, removes it.")

    def _show(self) -> None:
        session = self._state.session
        self._shown = self._state.slide_region if session is None else session.about.region
        if self._shown:
            self._outline.outline(list(self._shown), _COLOUR)
        else:
            self._outline.clear()
        self.changed.emit()

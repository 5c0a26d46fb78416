"""`SlideView`: the slide on the canvas of one viewer: follows `AppState`, and looks again when the camera moves."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.slides.slide_image import SlideImage
from napari_cellseg.gui.slides.view import View, view_of
from napari_cellseg.gui.state import AppState

__all__ = ["SlideView"]

_LOOK_MS = 20
"""Between two looks at the view while the camera moves."""
_TAKE_MS = 8
"""Between two looks whether a thread has an answer."""


class SlideView(QObject):
    """Shows the slide of `AppState`; does nothing without one."""

    told = Signal(str)
    """What cannot be shown, in words."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._state = state
        self.image = SlideImage(state.viewer, self.told.emit)
        self._is_open = False
        self._look_turn = QTimer(self)
        self._look_turn.setSingleShot(True)
        self._look_turn.setInterval(_LOOK_MS)
        self._look_turn.timeout.connect(self.look)
        self._take_turn = QTimer(self)
        self._take_turn.setInterval(_TAKE_MS)
        self._take_turn.timeout.connect(self._take)
        state.current_changed.connect(self._on_current)
        camera = camera_of(state.viewer)
        camera.events.center.connect(self._on_camera)
        camera.events.zoom.connect(self._on_camera)
        canvas = getattr(state.viewer, "canvas", None)
        size = getattr(getattr(canvas, "events", None), "size", None)
        if size is not None:
            size.connect(self._on_camera)

    @property
    def view(self) -> View | None:
        """What the canvas shows of the slide; None without one."""
        slide = self._state.slide
        return None if slide is None else view_of(self._state.viewer, slide.levels.size)

    @property
    def is_up_to_date(self) -> bool:
        """Return whether all of the view is shown."""
        return not self._look_turn.isActive() and self.image.is_up_to_date

    def look(self) -> None:
        """Show what is in view now."""
        self._look_turn.stop()
        view = self.view
        if view is not None:
            self.image.look(view)
            self._take_turn.start()

    def _on_camera(self, _: Any = None) -> None:
        if self._is_open and not self._look_turn.isActive():
            self._look_turn.start()

    def _on_current(self) -> None:
        if self._is_open:
            self._end()
        slide = self._state.slide
        if slide is not None:
            self._is_open = True
            self.image.open(slide.levels, slide.file.image_id)
            self.look()

    def _take(self) -> None:
        view = self.view
        if view is not None:
            self.image.take(view)
        if view is None or (self.is_up_to_date and not self.image.is_reading_overview):
            self._take_turn.stop()

    def _end(self) -> None:
        self._is_open = False
        self._look_turn.stop()
        self._take_turn.stop()
        self.image.close()

    def close(self) -> None:
        """Follow the viewer no longer."""
        if self._is_open:
            self._end()
        viewer = self._state.viewer
        if viewer is not None:
            camera = camera_of(viewer)
            camera.events.center.disconnect(self._on_camera)
            camera.events.zoom.disconnect(self._on_camera)

"""`SlideView`: the slide on the canvas of one viewer: follows `AppState`, and looks again when the camera moves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.errors import CellSegError, ConfigError
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.preferences import recall, remember
from napari_cellseg.gui.slides.kept import KeptSettings
from napari_cellseg.gui.slides.open_file import OpenCells
from napari_cellseg.gui.slides.slide_cells import SlideCells
from napari_cellseg.gui.slides.slide_image import SlideImage
from napari_cellseg.gui.slides.view import View, view_of
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.thresholds import model_of
from napari_cellseg.workspace.open_any import LoadedSlide

__all__ = ["SlideView"]

_LOOK_MS = 20
"""Between two looks at the view while the camera moves."""
_REST_MS = 400
"""After the last look, the view does not move any more."""
_TAKE_MS = 8
"""Between two looks whether a thread has an answer."""


class SlideView(QObject):
    """Shows the slide of `AppState`; does nothing without one."""

    told = Signal(str)
    """What cannot be shown, in words."""
    looked = Signal()
    """The canvas shows another part of the slide."""
    cells_changed = Signal()
    """Other cells are shown, or their counts are others."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._state = state
        self.image = SlideImage(state.viewer, self.told.emit)
        self.cells = SlideCells(state.viewer, self.told.emit)
        self._kept = KeptSettings(state, self.told.emit)
        self._is_open = self._is_opening = False
        self._hidden: Path | None = None
        """A file of cells that is not shown, since the project lacks a class of it."""
        self._look_turn = QTimer(self)
        self._look_turn.setSingleShot(True)
        self._look_turn.setInterval(_LOOK_MS)
        self._look_turn.timeout.connect(self.look)
        self._rest_turn = QTimer(self)
        self._rest_turn.setSingleShot(True)
        self._rest_turn.setInterval(_REST_MS)
        self._rest_turn.timeout.connect(self._rest)
        self._take_turn = QTimer(self)
        self._take_turn.setInterval(_TAKE_MS)
        self._take_turn.timeout.connect(self._take)
        self.cells.look_again = self._on_camera
        state.current_changed.connect(self._on_current)
        state.classes_changed.connect(self._on_classes)
        state.slide_region_changed.connect(self._on_region)
        state.min_scores_changed.connect(self._on_min_scores)
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
        return not self._look_turn.isActive() and self.image.is_up_to_date and self.cells.is_up_to_date

    def look(self) -> None:
        """Show what is in view now."""
        self._look_turn.stop()
        view = self.view
        if view is not None:
            self.image.look(view)
            self.cells.look(view)
            self._take_turn.start()
            self._rest_turn.start()
            self.looked.emit()

    def _rest(self) -> None:
        view = self.view
        if view is not None:
            self.image.rest(view)

    def _on_camera(self, _: Any = None) -> None:
        if self._is_open and not self._look_turn.isActive():
            self._look_turn.start()

    def _on_current(self) -> None:
        if self._is_open:
            self._end()
        slide = self._state.slide
        if slide is not None:
            self._is_open = True
            self._kept.read()
            self.image.open(slide.levels, slide.file.image_id)
            self.look()
            store = slide.store if slide.store.is_file() else Path(recall(_key_of(slide), ""))
            if store.is_file():
                self.open_cells(store)

    def open_cells(self, path: Path) -> bool:
        """Show the cells of a file that `predict` wrote; return whether they can be shown.

        If they cannot, what was shown stays, and the user is told why.
        """
        slide = self._state.slide
        if slide is None:
            return False
        self._is_opening = True
        try:
            file = OpenCells(path, slide.levels)
            try:
                self._adopt_classes(file)
                file.match_to(self._state.classes, self._kept.class_names)
            except BaseException:
                file.close()
                raise
            self._state.slide_class_ids = frozenset(file.match.values())
            self._state.set_cells_model(model_of(file.readers[0], file.classes, file.match))
        except CellSegError as error:
            self._hidden = path if isinstance(error, ConfigError) else None
            stays = "" if self.cells.path is None else f" The cells of {self.cells.path.name} stay."
            self.told.emit(f"{error}{stays}")
            return False
        finally:
            self._is_opening = False
        self._hidden = None
        self.cells.show(file, self._state.classes, self._state.min_scores)
        if path != slide.store:
            remember(_key_of(slide), str(path))
        self.look()
        self.cells_changed.emit()
        return True

    def follow(self, path: Path) -> None:
        """Show the cells of a file that a run is writing, or what it added."""
        file = self.cells.file
        if file is not None and file.is_of(path):
            self.cells.grow()
        else:
            self.open_cells(path)

    def _adopt_classes(self, file: OpenCells) -> None:
        """Use the class names of the file in a project without class names."""
        state = self._state
        is_named = file.readers[0].classes is not None
        if state.classes_are_provisional and (is_named or len(file.classes) > len(state.classes)):
            state.set_classes(file.classes, provisional=True)

    def _on_region(self) -> None:
        self._kept.note_region(self._state.slide_region)

    def _on_classes(self) -> None:
        if self._is_opening:
            return
        try:
            self.cells.use_classes(self._state.classes, self._kept.class_names)
        except CellSegError as error:  # the project has fewer classes now
            self._hidden = self.cells.path
            self._hide_cells()
            self.told.emit(str(error))
            return
        file = self.cells.file
        if file is not None:
            self._state.slide_class_ids = frozenset(file.match.values())
            if not self._state.classes_are_provisional:
                self._kept.note_class_names(file.names_here(self._state.classes))
        if self._hidden is not None:
            self.open_cells(self._hidden)

    def _on_min_scores(self) -> None:
        if not self._is_opening:
            self.cells.use_limits(self._state.min_scores)

    def _hide_cells(self) -> None:
        self.cells.close()
        self._state.slide_class_ids = frozenset()
        self._state.set_cells_model(None)
        self.cells_changed.emit()

    def _take(self) -> None:
        view = self.view
        if view is not None:
            if not self.image.take(view):
                self.cells.bring_one()  # napari takes its time for a layer: one in a turn
            if self.cells.take():
                self.cells_changed.emit()
        if view is None or (self.is_up_to_date and not self.image.is_reading_overview):
            self._take_turn.stop()

    def _end(self) -> None:
        self._is_open, self._hidden = False, None
        for turn in (self._look_turn, self._take_turn, self._rest_turn):
            turn.stop()
        self._hide_cells()
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


def _key_of(slide: LoadedSlide) -> str:
    """Return the name under which the user's choice of a file for a slide is remembered."""
    return f"slide_cells_{hashlib.sha256(str(slide.file.path.resolve()).encode()).hexdigest()[:16]}"

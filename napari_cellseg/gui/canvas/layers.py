"""`ClassLayers`: the only writer of the class layers, one napari Labels layer a class, all views of the session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.gui.canvas.camera import forget_extent
from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.colours import ColourMode, Looks
from napari_cellseg.gui.canvas.covered_tiles import draw_covered_tiles
from napari_cellseg.gui.canvas.features import cell_features
from napari_cellseg.gui.canvas.layer_pictures import ClassPainter, ClassPicture, stale_boxes
from napari_cellseg.gui.canvas.layer_rows import back_text, lock, rename
from napari_cellseg.gui.canvas.old_objects import OldObjects
from napari_cellseg.gui.canvas.painting import brush_aim, brush_target, take_over
from napari_cellseg.gui.canvas.warm_up import warm_up
from napari_cellseg.gui.preferences import on_preferences_changed, preferences
from napari_cellseg.gui.state import AppState
from napari_cellseg.review import Box, Cell, Change, ReviewSession

__all__ = ["ClassLayers"]

_FEATURES_DELAY_MS = 400
"""Features are read by people who stop to look: quick decisions in a row write them once."""

_AFTER_DRAWING_MS = 120
"""What a person does not look at waits until the canvas is drawn: which layer is active, where the brush aims."""

_BREATH_MS = 10
"""Before a step that takes napari long, so that the event loop does not take it in the same turn as another."""


class ClassLayers(QObject):
    """The class layers of one viewer; follows `AppState` and its session, and is their only writer.

    The layers of a new image are painted in small steps and come one a turn of the event loop, so that the window stays
    alive.
    """

    ready = Signal()
    """All layers of the current image are on the canvas."""
    layer_added = Signal(object)
    """A `CellsLayer` is on the canvas."""
    told = Signal(str)
    """Layers that the user removed are back."""
    undo_requested = Signal()
    redo_requested = Signal()
    session_changed = Signal(object)
    """The session did a `Change`, and the layers show it already."""

    def __init__(self, state: AppState) -> None:
        super().__init__()
        self._state = state
        self._session: ReviewSession | None = None
        self._looks = Looks()
        self._contour = 1
        self._layers: dict[int, CellsLayer] = {}
        self._spare: dict[int, tuple[CellsLayer, bool]] = {}
        self._waiting: list[int] = []
        self._places: dict[int, int] = {}
        self._painter = ClassPainter(self._looks)
        self._are_coming = False
        self._to_activate: int | None = None
        self._stale_features: set[int] = set()
        self._old_objects = OldObjects()
        self._aimed: dict[int, int] = {}
        self._unsubscribe: Callable[[], object] = lambda: None
        self._fill_opacity = preferences().fill_opacity
        self._turn = self._timer(self._next_step)
        self._features_turn = self._timer(self._write_features)
        self._after_drawing = self._timer(self.settle)
        state.current_changed.connect(self._on_current)
        state.emptied.connect(self._put_away_spare)
        state.classes_changed.connect(self._on_classes)
        state.min_scores_changed.connect(self._on_min_scores)
        on_preferences_changed(self._on_preferences)
        state.selection_changed.connect(self._on_selection)
        state.viewer.layers.events.removed.connect(self._on_removed)
        state.viewer.layers.selection.events.active.connect(lambda _: self._aim())
        warm_up()
        self._on_current()

    # ---- what is there ----

    def __iter__(self) -> Iterator[CellsLayer]:
        """Iterate over the layers in the order of the classes."""
        return iter([self._layers[i] for i in sorted(self._layers)])

    def layer(self, class_id: int) -> CellsLayer | None:
        """Return the layer of a class; None while it is not there yet, or when the user removed it."""
        return self._layers.get(class_id)

    @property
    def colour_mode(self) -> ColourMode:
        """What the colours tell."""
        return self._looks.mode

    @colour_mode.setter
    def colour_mode(self, mode: ColourMode) -> None:
        if mode is self._looks.mode:
            return
        self._looks.mode = mode
        if self._session is not None:
            self._looks.reset(self._session.cells.values())
        for layer in self:
            layer.set_colours(mode, self._state.classes.colour(layer.class_id))

    @property
    def contour(self) -> int:
        """Width of the contours, px; 0 for none."""
        return self._contour

    @contour.setter
    def contour(self, width: int) -> None:
        self._contour = width
        for layer in self:
            layer.contour = width

    def cell_at(self, position: Iterable[float]) -> Cell | None:
        """Return the topmost cell at a place in world coordinates, (..., y, x), of the layers that are visible."""
        if self._session is None:
            return None
        world = tuple(position)
        for layer in reversed(self._state.viewer.layers):
            if isinstance(layer, CellsLayer) and layer.visible:
                y, x = np.round(layer.world_to_data(world)[-2:]).astype(int).tolist()
                cell = self._session.cell_at(layer.class_id, y, x)
                if cell is not None:
                    return cell
        return None

    def activate(self, class_id: int) -> None:
        """Make the layer of a class visible, and the active one once the canvas is drawn, or at `settle`."""
        layer = self._layers.get(class_id)
        if layer is not None:
            if not layer.visible:  # napari redraws the whole layer even if it was visible
                layer.visible = True
            self._to_activate = class_id
            self._after_drawing.start(_AFTER_DRAWING_MS)

    def settle(self) -> None:
        """Do now what waits for the next draw: activate a layer, set its brush."""
        self._after_drawing.stop()
        layer = None if self._to_activate is None else self._layers.get(self._to_activate)
        self._to_activate = None
        selection = self._state.viewer.layers.selection
        if layer is not None and selection.active is not layer:
            selection.active = layer
        self._aim_now()

    def finish(self) -> None:
        """Do all waiting work now: add layers, write features, and `settle`."""
        while self._are_coming:
            self._next_step()
        self._write_features()
        self.settle()

    # ---- following the state ----

    def _on_current(self) -> None:
        self._stop()
        # Layers are kept for the next image: new ones take four times as long, and vispy 0.17 crashes Mesa's software
        # renderer when others are drawn after some were taken away.
        for class_id, layer in self._layers.items():
            self._spare[class_id] = layer, layer.visible
            layer.visible = False
        self._layers = {}
        self._session = session = self._state.session
        if session is not None:
            self._unsubscribe = session.subscribe(self._on_change)
            self._looks.reset(session.cells.values())
            self._waiting, self._are_coming = list(session.classes.class_ids), True
            self._old_objects.set_aside()
            self._turn.start(0)

    def _next_step(self) -> None:
        """Do the next small step of bringing a layer, and the one after it in another turn of the event loop."""
        self._turn.stop()
        session = self._session
        if session is None or not self._are_coming:
            return
        if not self._waiting:
            self._all_there()
            return
        class_id = self._waiting[0]
        picture = self._painter.picture
        if picture is None:
            self._painter.paint_some(session, class_id, self._contour)
        else:
            self._painter.forget()
            self._waiting.pop(0)
            if class_id in self._spare:
                self._use(*self._spare.pop(class_id), picture, session)
            else:
                self._add(self._make(picture, session, class_id))
        self._turn.start(_BREATH_MS if self._painter.picture is not None or not self._waiting else 0)

    def _all_there(self) -> None:
        self._are_coming = False
        if back := [self._layers[class_id].name for class_id in self._places if class_id in self._layers]:
            self.told.emit(back_text(back))
        self._places.clear()
        self._put_away_spare()
        self._old_objects.take_back()
        self._state.viewer.layers.selection.active = self._layers[min(self._layers)]
        self.show_refusal()
        self.ready.emit()

    def show_refusal(self) -> None:
        """Let the tools of napari draw only where edits are not refused."""
        for layer in self:
            layer.editable = self._session is not None and not self._session.refusal

    def _put_away_spare(self) -> None:
        """Hide and empty the layers of classes that this image does not have; they are kept, see `_on_current`."""
        size = (1, 1) if self._session is None else self._session.image_size
        for class_id, (layer, _) in self._spare.items():
            layer.visible = False
            layer.take(ClassPicture.empty(size), self._looks.mode, layer.class_colour)
            rename(self._state.viewer, layer, f"class {class_id} (not in use)", is_listed=False)
            forget_extent(layer)

    def _make(self, picture: ClassPicture, session: ReviewSession, class_id: int) -> CellsLayer:
        return CellsLayer(
            picture,
            class_id=class_id,
            looks=self._looks,
            colour=session.classes.colour(class_id),
            contour=self._contour,
            on_stroke=self._on_stroke,
            on_undo=self.undo_requested.emit,
            on_redo=self.redo_requested.emit,
            name=session.classes.name(class_id),
        )

    def _add(self, layer: CellsLayer) -> None:
        self._layers[layer.class_id] = layer
        layers = self._state.viewer.layers
        layers.insert(min(self._places.get(layer.class_id, len(layers)), len(layers)), layer)
        lock(layer)
        draw_covered_tiles(self._state.viewer, layer)
        layer.events.selected_label.connect(lambda _: self._on_brush(layer))
        layer.events.mode.connect(lambda _: self._on_mode(layer))
        self._mark_features(layer.class_id)
        self.layer_added.emit(layer)

    def _use(self, layer: CellsLayer, visible: bool, picture: ClassPicture, session: ReviewSession) -> None:
        """Show the cells of another image in a layer that is there already."""
        class_id = layer.class_id
        self._layers[class_id] = layer
        rename(self._state.viewer, layer, session.classes.name(class_id), is_listed=True)
        layer.take(picture, self._looks.mode, session.classes.colour(class_id))
        layer.visible = visible
        forget_extent(layer)
        self._mark_features(class_id)

    def _mark_features(self, class_id: int) -> None:
        self._stale_features.add(class_id)
        self._features_turn.start(_FEATURES_DELAY_MS)

    def _on_classes(self) -> None:
        session, classes = self._session, self._state.classes
        if session is None or any(session.count(i) for i in session.classes.class_ids[len(classes) :]):
            return
        session.classes = classes
        for class_id in [i for i in self._layers if i > len(classes)]:  # removed in *Open*
            self._state.viewer.layers.remove(self._layers.pop(class_id))
        for layer in self:
            layer.name = classes.name(layer.class_id)
            layer.set_colours(self._looks.mode, classes.colour(layer.class_id))
        self._waiting = [i for i in classes.class_ids if i not in self._layers]
        self._painter.forget()
        self._are_coming |= bool(self._waiting)
        self._turn.start(0)

    def _on_preferences(self) -> None:
        """Fill cells as the preferences say now."""
        before, self._fill_opacity = self._fill_opacity, preferences().fill_opacity
        if before != self._fill_opacity:
            for layer in self:
                layer.set_colours(self._looks.mode, self._state.classes.colour(layer.class_id))

    def _on_min_scores(self) -> None:
        if self._session is not None:
            self._session.set_min_scores(self._state.min_scores)

    def _on_selection(self) -> None:
        session = self._session
        if session is None:
            return
        for cell_id in self._looks.select(self._state.selection, session.cells):
            cell = session.cells.get(cell_id)
            layer = None if cell is None else self._layers.get(cell.class_id)
            if cell is not None and layer is not None:
                layer.redraw(cell.box)
        self._aim()

    def _on_removed(self, event: Any) -> None:
        taken = [class_id for class_id, layer in self._layers.items() if layer is event.value]
        self._layers = {i: layer for i, layer in self._layers.items() if layer is not event.value}
        self._spare = {i: spare for i, spare in self._spare.items() if spare[0] is not event.value}
        if taken and not self._state.is_closed:  # by the user; its cells would be exported unseen
            self._places[taken[0]], self._are_coming = event.index, True
            self._waiting = [*taken, *self._waiting]  # the last one first: the places are those after earlier ones left
            self._painter.forget()
            self._turn.start(0)  # napari is still removing it

    def close(self) -> None:
        """Follow the session no longer."""
        self._stop()

    def _stop(self) -> None:
        self._old_objects.take_back()
        self._turn.stop()
        self._features_turn.stop()
        self._after_drawing.stop()
        self._waiting, self._are_coming, self._to_activate = [], False, None
        self._places.clear()
        self._painter.forget()
        self._stale_features.clear()
        self._unsubscribe()
        self._unsubscribe = lambda: None

    # ---- following the session ----

    def _on_change(self, change: Change) -> None:
        session = self._session
        if session is None:
            return
        cells = [session.cells[i] for i in change.cell_ids if i in session.cells]
        self._looks.update(cells)
        self._painter.forget()
        for class_id, boxes in stale_boxes(change, cells, self._looks.mode).items():
            layer = self._layers.get(class_id)
            if layer is not None:
                for box in boxes:
                    layer.rewrite(box, session.view(class_id, box))
        self._stale_features.update(change.boxes, (cell.class_id for cell in cells))
        self._features_turn.start(_FEATURES_DELAY_MS)
        self._aim()
        self.session_changed.emit(change)

    def _write_features(self) -> None:
        self._features_turn.stop()
        if self._session is not None:
            for class_id in sorted(self._stale_features & self._layers.keys()):
                features = cell_features(self._session, class_id)
                self._layers[class_id].features = features
                self._layers[class_id].metadata["cells"] = len(features["index"])
        self._stale_features.clear()

    # ---- following the hand ----

    def _on_stroke(self, layer: CellsLayer, box: Box) -> None:
        session = self._session
        if session is None or self._layers.get(layer.class_id) is not layer:
            return
        change = take_over(session, layer, box)
        drawn = tuple(after.cell_id for before, after in change.pairs if before is None and after is not None)
        if drawn:
            # A polygon is a whole cell, so the next one is a new cell; a brush continues its cell.
            self._state.select(() if str(layer.mode) == "polygon" else drawn)

    def _on_brush(self, layer: CellsLayer) -> None:
        """Select the cell that the user picked for the brush; none when the brush would draw a new one."""
        value = layer.selected_label
        if self._session is None or value in (0, self._aimed.get(layer.class_id)):
            return
        target = brush_target(self._session, layer.class_id, value)
        self._state.select(() if target is None else (target,))

    def _on_mode(self, layer: CellsLayer) -> None:
        if layer.draws:
            self.settle()

    def _aim(self) -> None:
        """Set the value of the brush: immediately while it is in use, else at the next draw."""
        active = self._state.viewer.layers.selection.active
        if isinstance(active, CellsLayer) and active.draws:
            self._aim_now()
        else:
            self._after_drawing.start(_AFTER_DRAWING_MS)

    def _aim_now(self) -> None:
        """Point the brush of the active layer, the only one that can paint, at the selected cell or a new one."""
        layer = self._state.viewer.layers.selection.active
        if self._session is not None and isinstance(layer, CellsLayer):
            value = brush_aim(self._session, layer.class_id, self._state.selection)
            self._aimed[layer.class_id] = value
            layer.selected_label = value

    def _timer(self, call: object) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.timeout.connect(call)
        return timer

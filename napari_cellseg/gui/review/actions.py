"""`ReviewActions`: what the keys and buttons of a review do, the same from canvas, docks, gallery and table."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMainWindow

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.canvas.camera import is_in_view, move_to
from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.features import cell_line
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.pointing import Pointing
from napari_cellseg.gui.review.cutting import Cutting
from napari_cellseg.gui.review.queue_walk import QueueWalk
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_warning
from napari_cellseg.review import CellCommand, Change, ChangeKind, ReviewSession, Status
from napari_cellseg.review.queue import QueueItem

__all__ = ["ReviewActions"]


class ReviewActions(QObject):
    """Decisions about the selected cells, the way through the queue, and undo, for one viewer.

    Every action works on `selection`; what it needs, its key and its button stand in `action_table.REVIEW_ACTIONS`.
    Without what it needs, it does nothing.
    """

    changed = Signal()
    """Something that *Review* shows is another one: counts, undo text, hint, place in the queue."""
    keys_requested = Signal()
    """The list of keys is asked for."""

    def __init__(self, state: AppState, layers: ClassLayers) -> None:
        super().__init__()
        self._state, self._layers = state, layers
        self.queue = QueueWalk(state, layers)
        self.auto_advance = True
        self._missed: int | None = None
        self.cutting = Cutting(state.viewer, self.cut_by_line, self.cut_by_seeds)
        self.pointing = Pointing(state, layers)
        self.cutting.changed.connect(self._on_cutting)
        layers.session_changed.connect(self._on_change)
        layers.undo_requested.connect(self.undo)
        layers.redo_requested.connect(self.redo)
        self.queue.changed.connect(self.changed)
        state.current_changed.connect(self._on_current)
        state.selection_changed.connect(self._on_selection)

    # ---- what it works on ----

    @property
    def session(self) -> ReviewSession | None:
        """The review of the image on the canvas."""
        return self._state.session

    @property
    def selection(self) -> tuple[int, ...]:
        """The ids of the selected cells."""
        return self._state.selection

    # ---- decisions ----

    def accept(self) -> None:
        """Mark the selected cells as right; take over the cell on disk that the queue shows as missed."""
        label = None if self._missed is None else self.queue.label(self._missed)
        if label is not None:
            self._run(lambda session: session.add(label.class_id, label.box, label.mask))
            self.next()
            return
        self._decide(lambda session, ids: session.accept(ids))

    def reject(self) -> None:
        """Mark the selected cells as wrong."""
        self._decide(lambda session, ids: session.reject(ids))

    def reclassify(self, class_id: int, cell_ids: Iterable[int] | None = None) -> None:
        """Give the selected, or some other, cells another class."""
        self._decide(lambda session, ids: session.reclassify(ids, class_id), cell_ids)

    def delete(self) -> None:
        """Take the selected cells out."""
        self._decide(lambda session, ids: session.delete(ids))

    def reject_all(self, cell_ids: Iterable[int]) -> None:
        """Reject cells that need not be selected, such as those of a filter."""
        self._run(lambda session: session.reject(tuple(cell_ids)))

    def accept_all(self, cell_ids: Iterable[int]) -> None:
        """Accept cells that need not be selected."""
        self._run(lambda session: session.accept(tuple(cell_ids)))

    # ---- shapes ----

    def merge(self) -> None:
        """Make one cell of those selected."""
        ids = self.selection
        if self._run(lambda session: session.merge(ids)):
            self._state.select(ids[:1])

    def split(self) -> None:
        """Begin to split the selected cell; once more gives up."""
        if self.cutting.cell_id is not None:
            self.cutting.stop()
        elif len(self.selection) == 1:
            self._layers.settle()
            self.cutting.start(self.selection[0])

    def reshape(self, command: CellCommand, nothing: str) -> None:
        """Do a command on the shapes of the selected cells; say ``nothing`` when it changes none of them."""
        ids = self.selection
        change = self._run(lambda session: session.do(command, ids))
        if change is not None and not change:
            self.say(nothing)

    def draw_new(self) -> None:
        """Let brush, fill and polygon of the active class layer draw a new cell."""
        self._layers.settle()
        self._state.select(())
        layer = self._state.viewer.layers.selection.active
        if isinstance(layer, CellsLayer) and str(layer.mode) not in ("paint", "polygon", "fill"):
            layer.mode = "paint"

    # ---- one stack ----

    def undo(self) -> None:
        """Take the last command back and show where it was."""
        self._step_back(lambda session: session.undo(), "There is nothing to undo.")

    def redo(self) -> None:
        """Do the command undone last again and show where it was."""
        self._step_back(lambda session: session.redo(), "There is nothing to redo.")

    # ---- the way through the queue ----

    def next(self) -> None:
        """Go to the next cell of the queue."""
        if self.queue.is_ready:
            self._go(self.queue.next(self._current()))

    def previous(self) -> None:
        """Go to the previous cell of the queue."""
        if self.queue.is_ready:
            self._go(self.queue.previous(self._current()))

    def go_to(self, item: QueueItem) -> None:
        """Go to an item of the queue."""
        self._go(item)

    def say(self, text: str) -> None:
        """Show a text in the status bar."""
        self._state.viewer.status = text

    def show_cell(self, cell_id: int) -> None:
        """Select a cell, move the canvas to it and make its layer the active one."""
        session = self._state.session
        cell = None if session is None else session.cells.get(cell_id)
        if session is not None and cell is not None:
            self._state.select((cell_id,))
            self._layers.activate(cell.class_id)
            move_to(self._state.viewer, cell.box, session.image_size)

    @property
    def missed(self) -> int | None:
        """The item of the queue that is shown and that only the labels on disk have."""
        return self._missed

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes 1..K."""
        session = self._state.session
        return self._state.classes.names if session is None else session.classes.names

    @property
    def window(self) -> QMainWindow | None:
        """The window of the viewer; None once it is closed."""
        return self._state.window

    def close(self) -> None:
        """Stop assessing the queue."""
        self.queue.close()

    # ---- how ----

    def _decide(
        self, command: Callable[[ReviewSession, tuple[int, ...]], Change], cell_ids: Iterable[int] | None = None
    ) -> None:
        ids = self._state.selection if cell_ids is None else tuple(cell_ids)
        session = self._state.session
        if session is None or not ids:
            return
        undecided = [i for i in ids if session.cells[i].status is Status.PROPOSED]
        if self._run(lambda session: command(session, ids)) is None:
            return
        if cell_ids is None and len(ids) == 1 and self.auto_advance and undecided:
            self.next()
        else:
            self._state.select(i for i in ids if i in session.cells and session.is_visible(session.cells[i]))

    def _run(self, command: Callable[[ReviewSession], Change]) -> Change | None:
        """Do a command; None, and the reason to the user, when it cannot be done."""
        session = self._state.session
        if session is None:
            show_warning("Open an image first.")
            return None
        try:
            return command(session)
        except CellSegError as error:
            show_warning(str(error))
            return None

    def cut_by_line(self, cell_id: int, points: list[tuple[float, float]]) -> None:
        """Split a cell along a drawn line, (y, x) px."""
        self._run(lambda session: session.split_by_line(cell_id, points))

    def cut_by_seeds(self, cell_id: int, points: list[tuple[float, float]]) -> None:
        """Split a cell between clicked points, (y, x) px."""
        self._run(lambda session: session.split_by_seeds(cell_id, points))

    def _step_back(self, step: Callable[[ReviewSession], Change], nothing: str) -> None:
        self.cutting.stop()
        change = self._run(step)
        if change is None:
            return
        session = self._state.session
        if not change or session is None:
            self.say(nothing)
            return
        shown = [i for i in change.cell_ids if i in session.cells and session.is_visible(session.cells[i])]
        self._state.select(shown[:100])
        where = session.cells[shown[0]] if shown else next(c for pair in change.pairs for c in pair if c is not None)
        self._layers.activate(where.class_id)
        layer = self._layers.layer(where.class_id)
        if layer is not None and not is_in_view(layer, where.box):
            move_to(self._state.viewer, where.box, session.image_size)
        verb = "Undone" if change.kind is ChangeKind.UNDO else "Done again"
        self.say(f"{verb}: {change.text}")

    def _current(self) -> int | None:
        return self._state.selection[0] if self._state.selection else self._missed

    def _go(self, item: QueueItem | None) -> None:
        self.cutting.stop()
        self._missed = None
        if item is None:
            self._state.select(())
            self.say("Nothing is left in the queue.")
        elif not item.is_missed:
            self.show_cell(item.cell_id)
        else:  # a cell of the labels on disk that the review does not have
            self._layers.activate(item.class_id)
            image = self._state.image
            if image is not None:
                move_to(self._state.viewer, item.box, image.size)
            self._state.select(())
            self._missed = item.cell_id
            name = self.class_names()[item.class_id - 1]
            self.say(f"Missed: a cell {name} is {item.text}. Accept adds it, Next skips it.")
            self.changed.emit()

    def _on_current(self) -> None:
        self.cutting.stop()
        self._missed = None
        self.changed.emit()

    def _on_change(self, change: Change) -> None:
        session = self._state.session
        if session is not None and any(i not in session.cells for i in self._state.selection):
            self._state.select(i for i in self._state.selection if i in session.cells)
        if self._state.image_id is not None and change.kind is not ChangeKind.VIEW:
            self._state.status_changed.emit(self._state.image_id)
        self.changed.emit()

    def _on_cutting(self) -> None:
        self.pointing.enabled = self.cutting.cell_id is None
        if self.cutting.hint:
            self.say(self.cutting.hint)
        self.changed.emit()

    def _on_selection(self) -> None:
        session, ids = self._state.session, self._state.selection
        self._missed = None
        if session is None or not ids:
            return
        image = self._state.image
        if len(ids) == 1:
            size = None if image is None else image.pixel_size_um
            self.say(cell_line(session, ids[0], size))
        else:
            area = int(np.sum([session.cells[i].area for i in ids]))
            self.say(f"{len(ids)} cells selected, {area} px")

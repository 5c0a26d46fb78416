"""`ReviewActions`: what the keys and buttons of a review do, the same from canvas, docks, gallery and table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMainWindow

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.canvas.camera import move_to
from napari_cellseg.gui.canvas.features import selection_line
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.mask_opacity import MaskOpacity
from napari_cellseg.gui.canvas.pointing import Pointing
from napari_cellseg.gui.canvas.showing import Showing
from napari_cellseg.gui.canvas.tools import Tool, Tools
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.review.adjudicating import Adjudicating
from napari_cellseg.gui.review.bulk import Bulk
from napari_cellseg.gui.review.cell_finder import CellFinder
from napari_cellseg.gui.review.cutting import Cutting
from napari_cellseg.gui.review.new_cell import NewCell
from napari_cellseg.gui.review.next_cell import NextCell
from napari_cellseg.gui.review.notes import Notes
from napari_cellseg.gui.review.queue_text import nothing_text
from napari_cellseg.gui.review.queue_walk import QueueWalk
from napari_cellseg.gui.review.region_tool import RegionTool
from napari_cellseg.gui.review.stepping import Stepping
from napari_cellseg.gui.review.truth_view import TruthView
from napari_cellseg.gui.slides.slide_review import SlideReview
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_warning
from napari_cellseg.review import Author, CellCommand, Change, ChangeKind, ReviewSession, Status
from napari_cellseg.review.queue import QueueItem

__all__ = ["ReviewActions"]


class ReviewActions(QObject):
    """Decisions about the selected cells, the way through the queue, and undo, for one viewer.

    Every action works on `selection`; what it needs, its key and its button stand in `action_table.REVIEW_ACTIONS`.
    Without what it needs, it does nothing.
    """

    changed = Signal()
    """Something that *Review* shows has changed: counts, undo text, hint, place in the queue, tool."""
    keys_requested = Signal()
    """The list of keys is asked for."""

    def __init__(
        self, state: AppState, layers: ClassLayers, opener: Opener, finder: CellFinder, slide: SlideReview
    ) -> None:
        super().__init__()
        self._state, self._layers, self.opener, self.slide = state, layers, opener, slide
        self.queue = QueueWalk(state, layers)
        self._place = NextCell(self.queue)
        self.tools, self.showing = Tools(state, layers), Showing(layers)
        self.opacity = MaskOpacity(state, layers, self.showing)
        self.truth = TruthView(state, layers, opener.summaries)
        self.auto_advance = True
        self._decided: tuple[int, ...] = ()
        self._missed: int | None = None
        self.steps, self.notes = Stepping(state, layers, self._run), Notes(state, self._run)
        self.adjudicating = Adjudicating(state, self.queue, self._run)
        self.bulk = Bulk(state, layers, self.queue, self.tools, self.adjudicating, self._run)
        self.region = RegionTool(state, layers, opener, self._run)
        self.cutting = Cutting(state.viewer, self.cut_by_line, self.cut_by_seeds)
        self.pointing = Pointing(state, layers, self.tools)
        self.new_cell = NewCell(state, layers, self.tools, finder)
        self.cutting.changed.connect(self._on_cutting)
        self.region.changed.connect(self._on_cutting)
        layers.session_changed.connect(self._on_change)
        layers.undo_requested.connect(self.undo)
        layers.redo_requested.connect(self.redo)
        self.queue.changed.connect(self._move_on)
        for part in (self.queue, self.tools, self.showing, self.new_cell, self.truth, slide):
            part.changed.connect(self.changed)
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
        """Mark the selected cells as correct; add the cell that only the labels on disk, or another reader, have."""
        if self.new_cell.is_shown:
            self._run(self.new_cell.accept)
            return
        label = None if self._missed is None else self.queue.label(self._missed)
        if self.adjudicating.dispute(self._missed) is not None:
            self.take()
        elif label is not None:
            self._run(lambda session: session.add(label.class_id, label.box, label.mask))
            self.next()
        else:
            self._decide(partial(Author.set_status, status=Status.ACCEPTED))

    def reject(self) -> None:
        """Mark the selected cells as wrong; leave out the cell that only another reader has."""
        if self._missed is None:
            self._decide(partial(Author.set_status, status=Status.REJECTED))
        elif self.adjudicating.leave_out(self._missed):
            self._move_on((self._missed,))

    def take(self, class_id: int | None = None) -> None:
        """Take what the other reader decided about the disputed cell; with another class if one is given."""
        item_id = self._current()
        if item_id is None:
            return
        self._leave(item_id)
        if self.adjudicating.take(item_id, class_id):
            self.tools.point()
            self._move_on((item_id,))

    def give_class(self, class_id: int) -> None:
        """Set the class of the selected cells, or of new cells when a tool draws and no cell is selected.

        Cells that have the class already are accepted.
        """
        if self.new_cell.is_shown:
            self.new_cell.use_class(class_id)
        elif self.adjudicating.dispute(self._missed) is not None:
            self.take(class_id)
        elif self.draws_new:
            self._layers.activate(class_id)
            self._layers.settle()
            self.say(f"New cells get the class {self.class_names()[class_id - 1]}.")
        else:
            self.reclassify(class_id)

    def reclassify(self, class_id: int, cell_ids: Iterable[int] | None = None) -> None:
        """Set the class of the selected cells, or of ``cell_ids``; those that have the class already are accepted."""
        command = partial(Author.give_class, class_id=class_id, class_name=self.class_names()[class_id - 1])
        self._decide(command, cell_ids)

    def delete(self) -> None:
        """Delete the selected cells."""
        self._decide(Author.delete)

    # ---- shapes ----

    def merge(self) -> None:
        """Make one cell of those selected."""
        ids = self.selection
        if self._run(lambda session: session.merge(ids)):
            self._state.select(ids[:1])

    def split(self) -> None:
        """Start to split the selected cell; give up when a split has started."""
        self.region.stop()
        if self.cutting.cell_id is not None:
            self.cutting.stop()
        elif len(self.selection) == 1:
            self.tools.point()
            self.cutting.start(self.selection[0])

    def toggle_masks(self) -> None:
        """Hide the masks, or show them again."""
        self.showing.toggle()
        self.say("The masks are hidden. Tab on the canvas shows them again." if self.showing.is_off else "")

    def reshape(self, command: CellCommand, nothing: str) -> None:
        """Do a command on the shapes of the selected cells; say ``nothing`` when it changes none of them."""
        ids = self.selection
        change = self._run(lambda session: session.do(command, ids))
        if change is not None and not change:
            self.say(nothing)

    def draw_region(self) -> None:
        """Let the next drag draw the region of interest of the image; give up if it is drawn already."""
        self.cutting.stop()
        self.tools.point()
        self.region.toggle()

    def use_tool(self, tool: Tool) -> None:
        """Choose a tool; it holds on all class layers until a decision."""
        self.cutting.stop()
        self.region.stop()
        self.tools.choose(tool)

    def draw_new(self) -> None:
        """Let the next stroke draw a new cell, with the brush unless another drawing tool is chosen."""
        self._state.select(())
        self.use_tool(self.tools.tool if self.tools.tool in (Tool.FILL, Tool.POLYGON) else Tool.BRUSH)
        name = self._state.viewer.layers.selection.active.name
        self.say(f"Draw a new cell of the class {name}; a class key changes the class.")

    def click_cells(self) -> None:
        """Let the next click, or drawn box, find a cell that the model missed."""
        self._state.select(())
        self.use_tool(Tool.CELL)
        self.new_cell.begin()

    @property
    def draws_new(self) -> bool:
        """Whether the next stroke draws a new cell."""
        return self.tools.draws and self.tools.tool is not Tool.ERASER and not self.selection

    # ---- one stack ----

    def undo(self) -> None:
        """Take the last command back and show where it was; a new cell that is not accepted is dropped first."""
        if self.new_cell.is_shown:
            self.new_cell.drop()
            return
        self.go_by(-1)

    def redo(self) -> None:
        """Do the command undone last again and show where it was."""
        self.go_by(1)

    def go_by(self, steps: int) -> None:
        """Undo ``-steps`` commands, or redo ``steps``, and show where the last one was."""
        self.cutting.stop()
        self.steps.go_by(steps)

    # ---- the way through the queue ----

    def next(self) -> None:
        """Go to the next cell of the queue."""
        self.tools.point()
        if self.queue.is_ready:
            self._go(self.queue.next(self._current()))

    def previous(self) -> None:
        """Go to the previous cell of the queue."""
        self.tools.point()
        if self.queue.is_ready:
            self._go(self.queue.previous(self._current()))

    def go_to(self, item: QueueItem) -> None:
        """Go to an item of the queue."""
        self._go(item)

    def step_image(self, by: int) -> None:
        """Open the next (1) or the previous (-1) image."""
        self.opener.step(by)

    def segment(self) -> None:
        """Run the model of *Segment* on this image."""
        self._state.segment_requested.emit()

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
            if self.tools.draws:
                self._layers.settle()  # the next press paints
            move_to(self._state.viewer, self.adjudicating.place(cell_id, cell.box), session.image_size)

    @property
    def missed(self) -> int | None:
        """The item of the queue that is shown and that is no cell of the review."""
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
        self.showing.show_all()
        self.new_cell.drop()
        self.truth.close()
        self.region.close()
        self.adjudicating.close()
        self.queue.close()

    # ---- how ----

    def _decide(self, command: CellCommand, cell_ids: Iterable[int] | None = None) -> None:
        ids = self._state.selection if cell_ids is None else tuple(cell_ids)
        session = self._state.session
        if session is None or not ids:
            return
        if len(ids) == 1 and cell_ids is None:
            self._leave(ids[0])
        if self._run(lambda session: session.do(self.adjudicating.settling(command), ids)) is None:
            return
        self.tools.point()
        if cell_ids is None and len(ids) == 1 and self.auto_advance:
            self._move_on(ids)
        else:
            self._state.select(i for i in ids if i in session.cells and session.is_visible(session.cells[i]))

    def _leave(self, item_id: int) -> None:
        """Make an item that awaits a decision the present place in the queue."""
        session = self._state.session
        cell = None if session is None else session.cells.get(item_id)
        if cell is not None and (not cell.reviewed or self.queue.awaits(item_id)):
            self._place.leave(item_id)

    def _move_on(self, decided: tuple[int, ...] = ()) -> None:
        """Go to the cell after the one just decided, as soon as the queue is assessed."""
        self._decided = decided or self._decided
        if self._decided and self.queue.is_ready:
            decided, self._decided = self._decided, ()
            self._go(self._place.after(decided))

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

    def _current(self) -> int | None:
        return self._state.selection[0] if self._state.selection else self._missed

    def _go(self, item: QueueItem | None) -> None:
        self.cutting.stop()
        self._missed = None
        self._place.arrive(item)
        if item is None:
            self._state.select(())
            self.say(nothing_text(self._state, self.queue))
            self.changed.emit()
        elif not item.is_missed:
            self.show_cell(item.cell_id)
        else:  # a cell of the labels on disk, or of another reader, that the review does not have
            self._layers.activate(item.class_id)
            image = self._state.image
            if image is not None:
                move_to(self._state.viewer, item.box, image.size)
            self._state.select(())
            self._missed = item.cell_id
            self.say(self.adjudicating.missed_text(item, self.class_names()[item.class_id - 1]))
            self.changed.emit()
        self.adjudicating.show(None if item is None else item.cell_id)

    def _on_current(self) -> None:
        self.cutting.stop()
        self.showing.show_all()
        self._missed = None
        self._place.arrive(None)
        self.adjudicating.show(None)
        self.changed.emit()

    def _on_change(self, change: Change) -> None:
        session = self._state.session
        if session is not None and any(i not in session.cells for i in self._state.selection):
            self._state.select(i for i in self._state.selection if i in session.cells)
        if self._state.image_id is not None and change.kind is not ChangeKind.VIEW:
            self._state.status_changed.emit(self._state.image_id)
        self.changed.emit()

    def _on_cutting(self) -> None:
        self.pointing.enabled = self.slide.takes_clicks = self.cutting.cell_id is None and not self.region.is_drawing
        if self.cutting.hint:
            self.say(self.cutting.hint)
        self.changed.emit()

    def _on_selection(self) -> None:
        session, ids = self._state.session, self._state.selection
        self._missed, self._decided = None, ()
        self.adjudicating.show(ids[0] if len(ids) == 1 else None)
        if session is None or not ids:
            return
        image = self._state.image
        self.say(selection_line(session, ids, None if image is None else image.pixel_size_um))

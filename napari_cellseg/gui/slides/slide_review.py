"""`SlideReview`: select, accept, reject and classify cells of a slide; a decision is on disk before it is shown."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_cellseg.errors import CellSegError
from napari_cellseg.export.slides import SlideExport
from napari_cellseg.formats.cell_decisions import CellDecisions, Decided, apply_decisions, shown_class
from napari_cellseg.formats.cell_reader import BoxCells, CellReader, CellRow, StoredCell
from napari_cellseg.gui.canvas.camera import move_to
from napari_cellseg.gui.preferences import preferences
from napari_cellseg.gui.slides.cell_work import Changes
from napari_cellseg.gui.slides.slide_outline import SlideOutline
from napari_cellseg.gui.slides.slide_view import SlideView
from napari_cellseg.gui.slides.view import Box
from napari_cellseg.gui.slides.words import FAR, NO_CELLS, NOTHING_LEFT
from napari_cellseg.gui.state import AppState
from napari_cellseg.review import account_name
from napari_cellseg.wording import counted

__all__ = ["SlideReview"]

_CLICK_PX = 4
"""A mouse that moved less, px of the screen, has clicked."""
_MOST_WALKED = 20_000
"""Most cells in view among which the next one is looked for."""
_SMALL_PX = 14
"""A smaller cell, px of the screen, is magnified when it is gone to."""
_WORDS = {Decided.ACCEPTED: "accepted", Decided.REJECTED: "rejected", Decided.EDITED: "accepted, class changed"}


class SlideReview(QObject):
    """Decisions about the cells of the slide on the canvas; does nothing without one."""

    changed = Signal()
    """Selection, counts or what can be undone."""
    told = Signal(str)
    """Why something cannot be done."""

    def __init__(self, state: AppState, slides: SlideView) -> None:
        super().__init__(state)
        self._state, self._slides, self._cells = state, slides, slides.cells
        self._decisions: CellDecisions | None = None
        self._reader: CellReader | None = None
        self._refusal = ""
        self.takes_clicks = True
        self._selected: StoredCell | None = None
        self._outline = SlideOutline(state.viewer)
        self._walk: tuple[Any, list[tuple[int, int, float]] | None] = (None, None)
        self.cells = slides.cells
        slides.cells.changes, slides.cells.decided = self._changes, self._of
        slides.cells.changed_counts = self._changed_counts
        slides.cells_changed.connect(self._on_cells)
        slides.looked.connect(self._show_outline)
        state.viewer.mouse_drag_callbacks.append(self._on_press)

    # ---- what there is ----

    @property
    def is_open(self) -> bool:
        """Whether a slide is on the canvas, with or without cells."""
        return self._state.slide is not None

    @property
    def selected(self) -> StoredCell | None:
        """The selected cell, with its class of the file."""
        return self._selected

    @property
    def decisions(self) -> CellDecisions | None:
        """The decisions about the cells on the canvas; None without cells."""
        return self._decisions

    @property
    def undo_text(self) -> str:
        """The last step in words; empty if there is none."""
        return "" if self._decisions is None else self._decisions.undo_text

    @property
    def redo_text(self) -> str:
        """The step undone last in words; empty if there is none."""
        return "" if self._decisions is None else self._decisions.redo_text

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes 1..K."""
        return self._state.classes.names

    @property
    def progress(self) -> tuple[int, int]:
        """The numbers of decided and of all cells; (0, 0) while they are not known."""
        totals = self._cells.totals
        if self._decisions is None or totals is None:
            return 0, 0
        return len(self._decisions.of), sum(totals.values())

    @property
    def counts_text(self) -> str:
        """How many cells are decided."""
        if self._decisions is None or self._cells.totals is None:
            return "No cells" if self._cells.path is None else "Counting..."
        decided, total = self.progress
        return f"{decided:,} / {total:,} reviewed"

    @property
    def counts_tip(self) -> str:
        """How the cells are decided."""
        counts = {} if self._decisions is None else self._decisions.counts()
        return ", ".join(f"{count:,} {_WORDS[decided]}" for decided, count in counts.items())

    def why_not(self) -> str | None:
        """Say why nothing can be decided."""
        if self._cells.path is None:
            return NO_CELLS
        return self._refusal or None

    def why_no_segment(self) -> str | None:
        """Say why the slide cannot be segmented."""
        return None if self._state.model is not None else "Choose a model in Segment first."

    def why_no_cell(self) -> str | None:
        """Say why there is no cell to decide about."""
        return self.why_not() or (None if self._selected is not None else "Select a cell first: click it, or press N.")

    def why_no_undo(self) -> str | None:
        """Say why nothing can be undone."""
        return self.why_not() or (None if self.undo_text else "There is nothing to undo.")

    def why_no_redo(self) -> str | None:
        """Say why nothing can be redone."""
        return self.why_not() or (None if self.redo_text else "There is nothing to redo.")

    def to_export(self) -> SlideExport | None:
        """Return the cells as they are decided now; None without cells."""
        slide, path, um = self._state.slide, self._cells.path, None
        if slide is None or path is None:
            return None
        if slide.levels.pixel_size_um is not None:
            um = slide.levels.pixel_size_um * self._cells.factor
        return SlideExport(
            file=slide.file,
            store=path,
            pixel_size_um=um,
            decisions=self._of(),
            limits=dict(self._cells.limits),
            match=dict(self._cells.match),
        )

    # ---- deciding ----

    def accept(self) -> None:
        """Mark the selected cell as correct, and go to the next one in view."""
        self._decide(lambda decisions, cells: decisions.accept(cells))

    def reject(self) -> None:
        """Mark the selected cell as wrong, hide it, and go to the next one in view."""
        self._decide(lambda decisions, cells: decisions.reject(cells))

    def give_class(self, class_id: int, cell_ids: Sequence[int] = ()) -> None:
        """Set the class of the selected cell, or of some of a list; accepts a cell that has the class."""
        there = self._class_there(class_id)
        if there is None:
            self.told.emit(f"The model of these cells has no class {self._state.classes.name(class_id)}.")
        elif cell_ids:
            self.decide(cell_ids, lambda decisions, cells: decisions.give_class(cells, there))
        else:
            self._decide(lambda decisions, cells: decisions.give_class(cells, there))

    def decide(self, cell_ids: Sequence[int], do: Callable[[CellDecisions, list[CellRow]], object]) -> bool:
        """Decide about cells of a list as one step, and stay at the selected cell; return whether it is done."""
        reader = self._cells.reader
        is_done = reader is not None and self._try(lambda decisions: do(decisions, reader.rows(cell_ids)))
        if is_done:
            self._after_change()
        return is_done

    def accept_in_view(self) -> None:
        """Accept all cells in view that await a decision, as one step."""
        waiting = self._waiting()
        if waiting is None:
            self.told.emit(FAR)
        elif not waiting:
            self._say(NOTHING_LEFT)
        elif self.decide([row[0] for row in waiting], CellDecisions.accept):
            self._say(f"{counted(len(waiting), 'cell')} in view accepted. Undo takes back all of them.")

    def undo(self) -> None:
        """Take the last step back, and show where it was."""
        self._step(lambda decisions: decisions.undo())

    def redo(self) -> None:
        """Do the step undone last again, and show where it was."""
        self._step(lambda decisions: decisions.redo())

    def next(self, by: int = 1) -> None:
        """Select the next (1) or previous (-1) undecided cell in view, of the lowest score first."""
        waiting = self._waiting()
        if waiting is None:
            self.told.emit(FAR)
            return
        here = self._selected
        place = (-1.0, 0) if here is None else (here.score, here.id)
        others = [row for row in waiting if here is None or row[0] != here.id]
        after = [row for row in others if ((row[2], row[0]) > place) == (by > 0)]
        if not others:
            self.select(None)
            self._say(NOTHING_LEFT)
            return
        row = (after or others)[0 if by > 0 else -1]
        self.go_to(row[0])

    def _decide(self, do: Callable[[CellDecisions, Sequence[StoredCell]], object]) -> None:
        cell = self._selected
        if cell is not None and self._try(lambda decisions: do(decisions, [cell])):
            self._after_change()
            self.next()

    def _step(self, do: Callable[[CellDecisions], Sequence[int]]) -> None:
        found: list[int] = []
        if self._try(lambda decisions: found.extend(do(decisions))) and found:
            self._after_change()
            if len(found) == 1:
                self.go_to(found[0])

    def _try(self, do: Callable[[CellDecisions], object]) -> bool:
        if self._decisions is None:
            return False
        try:
            do(self._decisions)
        except CellSegError as error:
            self.told.emit(str(error))
            return False
        return True

    def _after_change(self) -> None:
        self._cells.refresh()
        self._cells.show_density()
        self.changed.emit()

    # ---- the cells in view ----

    def _waiting(self) -> list[tuple[int, int, float]] | None:
        """Return id, class_id of the file and score of the undecided cells in view; None if these are too many."""
        reader, view, decisions = self._cells.reader, self._slides.view, self._decisions
        if reader is None or view is None or decisions is None:
            return []
        key = reader, view  # the rows are of all scores
        if self._walk[0] != key:
            self._walk = key, reader.scores_in_box(self._box_there(view.box), _MOST_WALKED)
        rows = self._walk[1]
        if rows is None:
            return None
        of, limits, shown = decisions.of, self._cells.limits, set(self._cells.shown_classes)
        match = self._cells.match
        return [
            row
            for row in rows
            if row[0] not in of and row[2] >= limits.get(row[1], 0.0) and match.get(row[1], row[1]) in shown
        ]

    def _box_there(self, box: Box) -> Box:
        factor = self._cells.factor
        x0, y0, x1, y1 = (int(value / factor) for value in box)
        return x0, y0, x1, y1

    def select(self, cell: StoredCell | None) -> None:
        """Select a cell, or none."""
        if cell is not self._selected:
            self._selected = cell
            self._show_outline()
            if cell is not None:
                self._say(self._line(cell))
            self.changed.emit()

    def go_to(self, cell_id: int) -> None:
        """Select a cell, and move the view if it does not show the cell."""
        reader, view, slide = self._cells.reader, self._slides.view, self._state.slide
        cell = None if reader is None else reader.cell(cell_id)
        if cell is None or view is None or slide is None:
            return
        self.select(cell)
        factor = self._cells.factor
        x0, y0, x1, y1 = (round(value * factor) for value in cell.box)
        is_in = view.box[0] <= x0 and view.box[1] <= y0 and x1 <= view.box[2] and y1 <= view.box[3]
        if not is_in or max(x1 - x0, y1 - y0) * view.zoom < _SMALL_PX:
            move_to(self._state.viewer, (x0, y0, x1, y1), slide.levels.size)

    def _line(self, cell: StoredCell) -> str:
        decision = None if self._decisions is None else self._decisions.of.get(cell.id)
        class_id = self._class_here(cell.class_id if decision is None else decision.class_id)
        name = self._state.classes.name(class_id) if class_id in self._state.classes.class_ids else f"class {class_id}"
        status = "proposed" if decision is None else _WORDS[decision.decided]
        area = int(np.count_nonzero(cell.mask) * self._cells.factor**2)
        return f"#{cell.id} {name}, score {cell.score:.2f}, {area:,} px, {status}"

    def _class_here(self, there: int) -> int:
        return self._cells.match.get(there, there)

    def _class_there(self, here: int) -> int | None:
        match = self._cells.match
        found = [there for there, other in match.items() if other == here]
        if found:
            return found[0]
        return here if all(there == other for there, other in match.items()) else None

    # ---- following ----

    def _on_cells(self) -> None:
        """Open the decisions about the cells that are shown now."""
        reader, self._walk = self._cells.reader, (None, None)  # a run may have added cells to the view
        if self._reader is not reader:
            self.close()
            self._reader = reader
        if reader is not None and self._decisions is None and not self._refusal and reader.cell(1) is not None:
            self._open(reader)
        self.changed.emit()

    def _open(self, reader: CellReader) -> None:
        self._refusal = ""
        workspace = self._state.workspace
        if workspace is not None and workspace.read_only:
            self._refusal = workspace.read_only
            return
        try:
            user = preferences().reader.strip() or account_name()
            self._decisions = CellDecisions.open(reader, user)
        except CellSegError as error:
            self._refusal = str(error)
            self.told.emit(self._refusal)
            return
        if self._decisions.set_aside is not None:
            name = self._decisions.set_aside.name
            self.told.emit(f"The decisions about an earlier prediction of this slide are kept as {name}.")
        self._cells.refresh()
        self._cells.show_density()

    def _changes(self) -> Changes:
        of = {} if self._decisions is None else self._decisions.of
        limits = dict(self._cells.limits)

        def apply(cells: BoxCells) -> BoxCells:
            return apply_decisions(cells, of, limits)

        return apply

    def _changed_counts(self, counts: npt.NDArray[np.int32], side: int) -> npt.NDArray[np.int32]:
        if self._decisions is None:
            return counts
        changes = self._decisions.grid_changes(side, self._cells.limits, counts.shape)
        changed: npt.NDArray[np.int32] = np.maximum(counts + changes, 0)
        return changed

    def close(self) -> None:
        """Close the file of the decisions."""
        decisions, self._decisions = self._decisions, None
        self._selected, self._walk, self._refusal = None, (None, None), ""
        if decisions is not None:
            decisions.close()
        self._show_outline()

    # ---- mouse and outline ----

    def _on_press(self, _: Any, event: Any) -> Generator[None, None, None]:
        reader = self._cells.reader
        if not (self.is_open and self.takes_clicks) or reader is None or event.button != 1:
            return
        start = np.asarray(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.asarray(event.pos) - start).max() <= _CLICK_PX:
            self._click(float(event.position[-2]), float(event.position[-1]))

    def _click(self, y: float, x: float) -> None:
        reader, factor = self._cells.reader, self._cells.factor
        if reader is None:
            return
        try:
            found = reader.at(int((x + 0.5) / factor), int((y + 0.5) / factor))
        except CellSegError as error:
            self.told.emit(str(error))
            return
        shown, of, limits = set(self._cells.shown_classes), self._of(), self._cells.limits
        classes = [shown_class(cell, of.get(cell.id), limits) for cell in found]
        chosen = [c for c, there in zip(found, classes, strict=True) if there and self._class_here(there) in shown]
        self.select(chosen[-1] if chosen else None)

    def _of(self) -> Any:
        return {} if self._decisions is None else self._decisions.of

    def _show_outline(self) -> None:
        self._outline.show(self._selected, self._slides.view, self._cells.factor)

    def _say(self, text: str) -> None:
        self._state.viewer.status = text

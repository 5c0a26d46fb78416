"""A review: the cells of an image, commands with exact inverses, and one undo stack for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.about import NOTHING, About
from napari_cellseg.review.account import account_name
from napari_cellseg.review.arriving import check_size, proposal_pairs
from napari_cellseg.review.cells import BoolMask, Box, Cell, Status, check_cell
from napari_cellseg.review.commands import Author, CellCommand, Command
from napari_cellseg.review.conversion import instances_of
from napari_cellseg.review.edits import cut_by_line, cut_by_seeds, tightened
from napari_cellseg.review.filters import CellFilter
from napari_cellseg.review.history import Change, ChangeKind, History, Pair, Step
from napari_cellseg.review.shown import Progress, ShownCells, boxes_by_class
from napari_cellseg.review.strokes import read_stroke

__all__ = ["ReviewSession"]


class ReviewSession:
    """The cells of an image, the decisions about them, and one undo stack.

    Every command returns a `Change` and notifies the subscribers; a command that is not possible raises
    `AnnotationError` and changes nothing. ``cell_ids`` may hold one id or thousands; for bulk commands, pass the ids
    that `find` returns.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the image, px.
    classes : ClassTable
        The classes of the cells.
    cells : iterable of Cell
        The initial cells; not undoable.
    user : str, optional
        Name of the user; that of the account if left out.
    next_id : int
        The first id of new cells; raised above the ids of ``cells``.
    undo_bytes : int
        Memory limit of the undo stack.
    clock : callable
        Returns the time in seconds since 1970.
    about : About
        The note and flag of the image.

    Raises
    ------
    AnnotationError
        A cell reaches beyond the image or has a class that is not in the table.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        classes: ClassTable,
        cells: Iterable[Cell] = (),
        *,
        user: str | None = None,
        next_id: int = 1,
        undo_bytes: int = 128 * 2**20,
        clock: Callable[[], float] = time.time,
        about: About = NOTHING,
    ) -> None:
        self.image_size = image_size
        self.user = account_name() if user is None else user
        self._classes = classes
        self.clock = clock
        self._shown = ShownCells(image_size)
        self.history = History(undo_bytes, about)
        """The undo stack."""
        self._listeners: list[Callable[[Change], None]] = []
        self.refusal = ""
        """Why all commands are refused, such as a folder that cannot be saved; empty if they are not."""
        self._next_id = next_id
        for cell in cells:
            check_cell(cell, self.image_size, self._classes)
            self._shown.apply([(None, cell)])
            self._next_id = max(self._next_id, cell.cell_id + 1)

    # ---- contents ----

    @property
    def cells(self) -> Mapping[int, Cell]:
        """All cells by id, including rejected and hidden ones; a live, read-only view."""
        return self._shown.cells

    @property
    def next_id(self) -> int:
        """The id of the next new cell: paint with this value to draw one."""
        return self._next_id

    @property
    def classes(self) -> ClassTable:
        """The class table; set another one to rename, recolour or add classes (not undoable).

        Raises
        ------
        AnnotationError
            The new table lacks a class that cells have, or that undo could give back to cells.
        """
        return self._classes

    @classes.setter
    def classes(self, table: ClassTable) -> None:
        used = max((cell.class_id for cell in chain(self.cells.values(), self.history.cells())), default=0)
        if used > len(table):
            raise AnnotationError(f"There are cells of class {used}; the new class table only has {len(table)}.")
        self._classes = table
        self._tell(
            Change(text="classes", kind=ChangeKind.VIEW, boxes=dict.fromkeys(table.class_ids, self._shown.frame))
        )

    @property
    def min_scores(self) -> Mapping[int, float]:
        """The minimum score of each class: proposed cells below it are neither shown nor exported; 0 by default."""
        return self._shown.min_scores

    def set_min_scores(self, min_scores: Mapping[int, float]) -> Change:
        """Hide proposed cells below the minimum score of their class; a view setting, not undoable."""
        flipped = self._shown.set_min_scores(min_scores)
        ids = tuple(cell.cell_id for cell in flipped)
        boxes = boxes_by_class((cell.class_id, cell.box) for cell in flipped)
        change = Change(text="minimum score", kind=ChangeKind.VIEW, cell_ids=ids, boxes=boxes)
        self._tell(change)
        return change

    def count(self, class_id: int | None = None, statuses: Collection[Status] | None = None) -> int:
        """Count the cells shown or rejected, of a class and of some statuses, in constant time."""
        return self._shown.count(class_id, statuses)

    @property
    def progress(self) -> Progress:
        """The progress of the review."""
        return self._shown.progress

    @property
    def about(self) -> About:
        """The note and flag of the image; `describe` changes them."""
        return self.history.about

    def is_visible(self, cell: Cell) -> bool:
        """Return whether the cell is shown and exported: not rejected, and not a proposal below its class's minimum."""
        return self._shown.is_visible(cell)

    def view(self, class_id: int, box: Box | None = None) -> npt.NDArray[np.int32]:
        """Paint the visible cells of a class: int32 cell_ids in ``box`` or the whole image, 0 is background.

        Where cells overlap, the one with the highest score is on top, and of equal scores the later one.
        """
        return self._shown.view(class_id, box)

    def cell_at(self, class_id: int, y: int, x: int) -> Cell | None:
        """Return the topmost visible cell of a class at a pixel."""
        return self._shown.at(class_id, y, x)

    def near(self, class_id: int, box: Box | None = None) -> list[Cell]:
        """Return the visible cells of a class whose boxes touch ``box``, or all of them, by id."""
        return self._shown.near(class_id, box)

    def find(self, wanted: CellFilter) -> tuple[int, ...]:
        """Return the ids of the cells shown (and rejected ones when ``statuses`` asks for them) that meet a filter."""
        return self._shown.find(wanted, self._classes.class_ids if wanted.class_ids is None else wanted.class_ids)

    def instances(self, statuses: Collection[Status] | None = None) -> InstanceMasks:
        """Return the visible cells by id, of all statuses or some; cells without a label value get free ones."""
        chosen = [
            cell
            for _, cell in sorted(self.cells.items())
            if self.is_visible(cell) and (statuses is None or cell.status in statuses)
        ]
        return instances_of(chosen, self.image_size)

    # ---- undo ----

    @property
    def undo_text(self) -> str | None:
        """Description of the command that `undo` reverts; None if there is none."""
        return self.history.undo_text

    @property
    def redo_text(self) -> str | None:
        """Description of the command that `redo` repeats; None if there is none."""
        return self.history.redo_text

    @property
    def steps(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Descriptions of the commands that `undo` reverts, and of those that `redo` repeats; the next one first."""
        return self.history.texts

    @property
    def state(self) -> object:
        """A token of the present cells: the same object whenever undo and redo return to them."""
        return self.history.state

    def undo(self) -> Change:
        """Revert the last command exactly; a false `Change` if there is none."""
        return self._step(ChangeKind.UNDO, self.history.undo)

    def redo(self) -> Change:
        """Repeat the last undone command exactly; a false `Change` if there is none."""
        return self._step(ChangeKind.REDO, self.history.redo)

    def go_by(self, steps: int) -> Change:
        """Undo ``-steps`` commands one by one, or redo ``steps``; return the last change, false if there is none."""
        change = Change(text="", kind=ChangeKind.UNDO if steps < 0 else ChangeKind.REDO)
        for _ in range(abs(steps)):
            change = (self.undo() if steps < 0 else self.redo()) or change
        return change

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``listener`` after every change; returns a function that unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def do(self, command: CellCommand, cell_ids: Iterable[int]) -> Change:
        """Run a command on cells, for example ``session.do(Author.fill_holes, [3])``."""
        return self._do(command(self._author, self._get(cell_ids)))

    def accept(self, cell_ids: Iterable[int]) -> Change:
        """Mark cells as correct; an edited cell stays edited, which implies it."""
        return self._do(self._author.set_status(self._get(cell_ids), Status.ACCEPTED))

    def reject(self, cell_ids: Iterable[int]) -> Change:
        """Mark cells as wrong: neither shown nor exported, but kept, so that no new prediction proposes them again."""
        return self._do(self._author.set_status(self._get(cell_ids), Status.REJECTED))

    def set_status(self, cell_ids: Iterable[int], status: Status) -> Change:
        """Set the status of cells; PROPOSED withdraws a decision."""
        return self._do(self._author.set_status(self._get(cell_ids), status))

    def reclassify(self, cell_ids: Iterable[int], class_id: int) -> Change:
        """Change the class of cells; they become edited."""
        known = class_id in self._classes.class_ids
        name = self._classes.names[class_id - 1] if known else f"class {class_id}"
        return self._do(self._author.reclassify(self._get(cell_ids), class_id, name))

    def delete(self, cell_ids: Iterable[int]) -> Change:
        """Delete cells; unlike rejected cells, they may return with a new prediction."""
        return self.do(Author.delete, cell_ids)

    def describe(self, about: About) -> Change:
        """Set the note and the flag of the image; does nothing if it has them."""
        about = about.tidied
        return self._do((about.step_from(self.about), []), about=None if about == self.about else about)

    # ---- shape ----

    def add(self, class_id: int, box: Box, mask: BoolMask) -> Change:
        """Add a cell from a (h, w) bool crop at ``box``, which need not be tight.

        Raises
        ------
        AnnotationError
            The mask is empty or reaches beyond the image, or the class is unknown.
        """
        placed = tightened(box, np.asarray(mask, bool))
        if placed is None:
            raise AnnotationError("The new cell has no pixels. Draw it larger.")
        return self._do((f"add #{self._next_id}", [(None, self._author.drawn(self._next_id, class_id, placed))]))

    def paint(self, class_id: int, box: Box, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer]) -> Change:
        """Apply a stroke of brush, fill, polygon or eraser on the view of a class, as one command.

        Afterwards ``view(class_id, box)`` equals ``after``, but for the ids of new cells.

        Parameters
        ----------
        class_id : int
            The class whose view was painted.
        box : (x0, y0, x1, y1)
            Region of the stroke, px.
        before, after : (y1 - y0, x1 - x0) int
            The view in ``box``, cell_ids, before and after the stroke. A value of ``after`` that is no visible cell of
            the class becomes a new cell; a cell that loses all its pixels is deleted.
        """
        stroke = read_stroke(self.near(class_id, box), box, before, after)
        return self._do(self._author.paint(class_id, stroke, self._next_id))

    def merge(self, cell_ids: Iterable[int], *, bridge: bool = False) -> Change:
        """Merge two or more cells into one, which keeps the id and the class of the first.

        Parameters
        ----------
        cell_ids : iterable of int
        bridge : bool
            Fill a gap of up to `edits.MAX_GAP` px between the cells.

        Raises
        ------
        AnnotationError
            Fewer than two cells, cells that do not touch (without ``bridge``), or a gap too wide to bridge.
        """
        return self._do(self._author.merge(self._get(cell_ids), bridge=bridge))

    def split_by_line(self, cell_id: int, points: npt.ArrayLike) -> Change:
        """Split a cell along a line, (M, 2) float points as (y, x); the largest piece keeps the id.

        Raises
        ------
        AnnotationError
            The line does not cut the cell in two.
        """
        (cell,) = self._get([cell_id])
        return self._do(self._author.split(cell, cut_by_line(cell, points), self._next_id))

    def split_by_seeds(self, cell_id: int, seeds: npt.ArrayLike) -> Change:
        """Split a cell by watershed from (M, 2) clicked points as (y, x); the largest piece keeps the id.

        Raises
        ------
        AnnotationError
            Fewer than two different points lie in the cell.
        """
        (cell,) = self._get([cell_id])
        return self._do(self._author.split(cell, cut_by_seeds(cell, seeds), self._next_id))

    def load_proposals(self, instances: InstanceMasks, by: str = "model") -> Change:
        """Replace the proposed cells by a model's predictions; other cells stay.

        A prediction is left out if its overlap with a given, accepted or edited cell exceeds a quarter of the smaller
        area, or if it repeats a rejected cell (same class, intersection over union above 0.7).

        Raises
        ------
        AnnotationError
            The cells are of an image of another size, or have a class that is not in the table.
        """
        check_size(instances, self.image_size)
        mine = [cell for _, cell in sorted(self.cells.items())]
        pairs = proposal_pairs(mine, instances, by, self.clock(), self._next_id)
        return self._do((f"{sum(cell is None for cell, _ in pairs)} proposals from {by}", pairs))

    def grow(self, step: Step | None, text: str, pairs: list[Pair]) -> Step | None:
        """Add changes to an earlier command (or make a new one), as `ArrivingCells` does; return what replaces it."""
        return self.history.newest if self._do((text, pairs), step) else step

    def restore(self, cells: Iterable[Cell], text: str) -> Change:
        """Replace all cells, for example by edits that were kept elsewhere; ``text`` describes the command."""
        new = {cell.cell_id: cell for cell in cells}
        now = self.cells
        ids = sorted(now.keys() | new.keys())
        pairs = [(now.get(i), new.get(i)) for i in ids if now.get(i) is not new.get(i)]
        return self._do((text, pairs))

    @property
    def _author(self) -> Author:
        return Author(self.user, self.clock, self.image_size)

    def _do(self, command: Command, step: Step | None = None, about: About | None = None) -> Change:
        """Apply a command and push it on the undo stack, or add it to a step; without a change, do nothing."""
        self._check_refusal()
        text, pairs = command[0], tuple(command[1])
        if not pairs and about is None:
            return Change(text=text, kind=ChangeKind.DO)
        for _, after in pairs:
            if after is not None:
                check_cell(after, self.image_size, self._classes)
        self.history.add(step, text, pairs, about)
        return self._apply(text, ChangeKind.DO, pairs, about is not None)

    def _step(self, kind: ChangeKind, move: Callable[[], Step | None]) -> Change:
        self._check_refusal()
        step = move()
        if step is None:
            return Change(text="", kind=kind)
        return self._apply(step.text, kind, step.pairs, step.about is not None)

    def _apply(self, text: str, kind: ChangeKind, pairs: tuple[Pair, ...], has_about: bool) -> Change:
        touched = [cell for before, after in pairs if (cell := after or before) is not None]
        ids = tuple(cell.cell_id for cell in touched)
        self._next_id = max(self._next_id, *(i + 1 for i in ids), 1)
        about, boxes = self.about if has_about else None, self._shown.apply(pairs)
        change = Change(text=text, kind=kind, cell_ids=ids, boxes=boxes, pairs=pairs, about=about)
        self._tell(change)
        return change

    def _check_refusal(self) -> None:
        if self.refusal:
            raise AnnotationError(f"Nothing was changed. {self.refusal}")

    def _get(self, cell_ids: Iterable[int]) -> list[Cell]:
        wanted = list(dict.fromkeys(cell_ids))
        for i in wanted:
            if i not in self.cells:
                raise AnnotationError(f"There is no cell #{i} in this image.")
        return [self.cells[i] for i in wanted]

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)

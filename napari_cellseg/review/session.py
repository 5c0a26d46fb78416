"""A review: the cells of an image, commands with an exact inverse, one undo stack for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.account import account_name
from napari_cellseg.review.cells import BoolMask, Box, Cell, Status, check_cell
from napari_cellseg.review.commands import Author, CellCommand, Command
from napari_cellseg.review.conversion import cells_from, instances_of, known_already
from napari_cellseg.review.edits import cut_by_line, cut_by_seeds, tightened
from napari_cellseg.review.filters import CellFilter
from napari_cellseg.review.history import Change, ChangeKind, History, Pair
from napari_cellseg.review.shown import ShownCells, boxes_by_class
from napari_cellseg.review.strokes import read_stroke

__all__ = ["Progress", "ReviewSession"]


@dataclass(frozen=True)
class Progress:
    """How many cells a person has decided about, of all that are shown or rejected."""

    reviewed: int
    total: int


class ReviewSession:
    """The cells of an image, what is decided about them, and one undo stack for it all.

    Every command returns a `Change`, tells the subscribers, and raises `AnnotationError` with nothing changed when it
    cannot be done. ``cell_ids`` may hold one id or thousands; bulk commands are these with the ids that `find` gives.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the image, px.
    classes : ClassTable
        The classes cells may have.
    cells : iterable of Cell
        To begin with; not undoable.
    user : str, optional
        Who decides; the name of the account when left out.
    next_id : int
        The first id for new cells; higher when a cell has it already.
    undo_bytes : int
        What the undo stack may take.
    clock : callable
        Gives the time in seconds since 1970.

    Raises
    ------
    AnnotationError
        A cell leaves the image or has a class that the table does not have.
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
    ) -> None:
        self.image_size = image_size
        self.user = account_name() if user is None else user
        self._classes = classes
        self._clock = clock
        self._shown = ShownCells(image_size)
        self._history = History(undo_bytes)
        self._listeners: list[Callable[[Change], None]] = []
        self.refusal = ""
        """Why no command is done, in words, as of a folder that cannot be saved; empty when they are."""
        self._next_id = next_id
        for cell in cells:
            check_cell(cell, self.image_size, self._classes)
            self._shown.apply([(None, cell)])
            self._next_id = max(self._next_id, cell.cell_id + 1)

    # ---- what is there ----

    @property
    def cells(self) -> Mapping[int, Cell]:
        """Every cell by id, rejected and hidden ones too; live and read-only."""
        return self._shown.cells

    @property
    def next_id(self) -> int:
        """The id of the next new cell: paint with this value to draw one."""
        return self._next_id

    @property
    def classes(self) -> ClassTable:
        """The classes; set another table to rename, recolour or add some (not undoable).

        Raises
        ------
        AnnotationError
            On setting a table that leaves out a class that cells have, or had and could have again by undo.
        """
        return self._classes

    @classes.setter
    def classes(self, table: ClassTable) -> None:
        used = max((cell.class_id for cell in chain(self.cells.values(), self._history.cells())), default=0)
        if used > len(table):
            raise AnnotationError(f"There are cells of class {used}; the new class table only has {len(table)}.")
        self._classes = table
        self._tell(
            Change(text="classes", kind=ChangeKind.VIEW, boxes=dict.fromkeys(table.class_ids, self._shown.frame))
        )

    @property
    def min_scores(self) -> Mapping[int, float]:
        """The lowest score a proposed cell of a class is shown and exported with; 0 where none is set."""
        return self._shown.min_scores

    def set_min_scores(self, min_scores: Mapping[int, float]) -> Change:
        """Hide proposed cells below their class's score; a setting of the view, not undoable."""
        flipped = self._shown.set_min_scores(min_scores)
        ids = tuple(cell.cell_id for cell in flipped)
        boxes = boxes_by_class((cell.class_id, cell.box) for cell in flipped)
        change = Change(text="minimum score", kind=ChangeKind.VIEW, cell_ids=ids, boxes=boxes)
        self._tell(change)
        return change

    def count(self, class_id: int | None = None, statuses: Collection[Status] | None = None) -> int:
        """Count the cells shown or rejected, of a class and of some statuses; costs nothing."""
        return self._shown.count(class_id, statuses)

    @property
    def progress(self) -> Progress:
        """How far the review is."""
        total = self.count()
        return Progress(total - self.count(statuses=(Status.PROPOSED,)), total)

    # ---- looking ----

    def is_visible(self, cell: Cell) -> bool:
        """Whether the cell is shown and exported: not rejected, and not a proposal below its class's minimum."""
        return self._shown.is_visible(cell)

    def view(self, class_id: int, box: Box | None = None) -> npt.NDArray[np.int32]:
        """Paint what is shown of a class: (height, width) of ``box`` or of the image, int32 cell_ids, 0 is background.

        Where cells overlap, the one with the highest score is on top, and of equal scores the later one.
        """
        return self._shown.view(class_id, box)

    def cell_at(self, class_id: int, y: int, x: int) -> Cell | None:
        """Return the topmost cell shown of a class at a pixel."""
        return self._shown.at(class_id, y, x)

    def near(self, class_id: int, box: Box | None = None) -> list[Cell]:
        """Return the cells shown of a class whose boxes touch ``box``, or all of them, by id."""
        return self._shown.near(class_id, box)

    def find(self, wanted: CellFilter) -> tuple[int, ...]:
        """Return the ids of the cells shown (and rejected ones when ``statuses`` asks for them) that meet a filter."""
        return self._shown.find(wanted, self._classes.class_ids if wanted.class_ids is None else wanted.class_ids)

    def instances(self, statuses: Collection[Status] | None = None) -> InstanceMasks:
        """Return the cells shown, by id, of all statuses or some; those without a label value get free ones."""
        chosen = [
            cell
            for _, cell in sorted(self.cells.items())
            if self.is_visible(cell) and (statuses is None or cell.status in statuses)
        ]
        return instances_of(chosen, self.image_size)

    # ---- undo ----

    @property
    def undo_text(self) -> str | None:
        """The command that `undo` takes back, in words; None when there is none."""
        return self._history.undo_text

    @property
    def redo_text(self) -> str | None:
        """The command that `redo` does again, in words; None when there is none."""
        return self._history.redo_text

    @property
    def state(self) -> object:
        """Stands for the cells as they are now: the same object whenever undo and redo lead back to them."""
        return self._history.state

    @property
    def undo_size(self) -> int:
        """About how many bytes the undo stack takes."""
        return self._history.size

    def undo(self) -> Change:
        """Take the last command back, exactly; a false `Change` when there is none."""
        self._check_refusal()
        step = self._history.undo()
        if step is None:
            return Change(text="", kind=ChangeKind.UNDO)
        return self._apply(step.text, ChangeKind.UNDO, tuple((after, before) for before, after in step.pairs))

    def redo(self) -> Change:
        """Do the command undone last again, exactly; a false `Change` when there is none."""
        self._check_refusal()
        step = self._history.redo()
        return (
            Change(text="", kind=ChangeKind.REDO)
            if step is None
            else self._apply(step.text, ChangeKind.REDO, step.pairs)
        )

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``listener`` after every change; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---- commands on cells ----

    def do(self, command: CellCommand, cell_ids: Iterable[int]) -> Change:
        """Do a command on cells, for example ``session.do(Author.fill_holes, [3])``."""
        return self._do(command(self._author, self._get(cell_ids)))

    def accept(self, cell_ids: Iterable[int]) -> Change:
        """Mark cells as right; an edited one stays edited, which says as much."""
        return self._do(self._author.set_status(self._get(cell_ids), Status.ACCEPTED))

    def reject(self, cell_ids: Iterable[int]) -> Change:
        """Mark cells as wrong: neither shown nor exported, but kept, so that no new prediction brings them back."""
        return self._do(self._author.set_status(self._get(cell_ids), Status.REJECTED))

    def set_status(self, cell_ids: Iterable[int], status: Status) -> Change:
        """Give cells any status; PROPOSED takes a decision back."""
        return self._do(self._author.set_status(self._get(cell_ids), status))

    def reclassify(self, cell_ids: Iterable[int], class_id: int) -> Change:
        """Give cells another class; they count as edited."""
        known = class_id in self._classes.class_ids
        name = self._classes.names[class_id - 1] if known else f"class {class_id}"
        return self._do(self._author.reclassify(self._get(cell_ids), class_id, name))

    def delete(self, cell_ids: Iterable[int]) -> Change:
        """Take cells out; unlike rejected ones, a new prediction may bring them again."""
        return self.do(Author.delete, cell_ids)

    # ---- shape ----

    def add(self, class_id: int, box: Box, mask: BoolMask) -> Change:
        """Add a cell of a (h, w) bool crop at ``box``, which need not be tight.

        Raises
        ------
        AnnotationError
            The mask is empty, or leaves the image, or the class is unknown.
        """
        placed = tightened(box, np.asarray(mask, bool))
        if placed is None:
            raise AnnotationError("The new cell has no pixel; draw it larger.")
        return self._do((f"add #{self._next_id}", [(None, self._author.drawn(self._next_id, class_id, placed))]))

    def paint(self, class_id: int, box: Box, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer]) -> Change:
        """Take over a stroke of brush, fill, polygon or eraser on the view of a class: one command.

        Afterwards ``view(class_id, box)`` equals ``after``, but for the ids of new cells.

        Parameters
        ----------
        class_id : int
            Whose view was painted.
        box : (x0, y0, x1, y1)
            Where, px.
        before, after : (y1 - y0, x1 - x0) int
            The view there, cell_ids, before and after the stroke. A value of ``after`` that is no visible cell of the
            class becomes a new one; a cell that loses all its pixels is deleted.
        """
        stroke = read_stroke(self.near(class_id, box), box, before, after)
        return self._do(self._author.paint(class_id, stroke, self._next_id))

    def merge(self, cell_ids: Iterable[int], *, bridge: bool = False) -> Change:
        """Make one cell of two or more; it keeps the id and the class of the first.

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
        """Cut a cell along a line, (M, 2) float points as (y, x); the largest piece keeps the id.

        Raises
        ------
        AnnotationError
            The line does not cut the cell in two.
        """
        (cell,) = self._get([cell_id])
        return self._do(self._author.split(cell, cut_by_line(cell, points), self._next_id))

    def split_by_seeds(self, cell_id: int, seeds: npt.ArrayLike) -> Change:
        """Cut a cell by watershed from (M, 2) clicked points as (y, x); the largest piece keeps the id.

        Raises
        ------
        AnnotationError
            Fewer than two different points lie in the cell.
        """
        (cell,) = self._get([cell_id])
        return self._do(self._author.split(cell, cut_by_seeds(cell, seeds), self._next_id))

    # ---- proposals ----

    def load_proposals(self, instances: InstanceMasks, by: str = "model") -> Change:
        """Replace what is proposed by what a model found; what a person decided stays.

        A proposal is left out when it shares more than a quarter of the smaller area with an accepted or edited cell,
        or when it is a rejected cell again (same class, intersection over union above 0.7).

        Raises
        ------
        AnnotationError
            The cells are for an image of another size, or of a class that the table does not have.
        """
        if instances.image_size != self.image_size:
            raise AnnotationError(
                f"The cells are for an image of {instances.image_size}, this one is {self.image_size} (height, width)."
            )
        mine = [cell for _, cell in sorted(self.cells.items())]
        known = known_already(instances, [cell for cell in mine if cell.reviewed], self.image_size)
        new = cells_from(
            instances.select(~known), Status.PROPOSED, by, self._clock(), first_id=self._next_id, label_values=False
        )
        pairs: list[Pair] = [*((cell, None) for cell in mine if not cell.reviewed), *((None, cell) for cell in new)]
        return self._do((f"{len(new)} proposals from {by}", pairs))

    def restore(self, cells: Iterable[Cell], text: str) -> Change:
        """Replace all cells by others, such as edits that were kept elsewhere; ``text`` says what that does."""
        new = {cell.cell_id: cell for cell in cells}
        now = self.cells
        ids = sorted(now.keys() | new.keys())
        pairs = [(now.get(i), new.get(i)) for i in ids if now.get(i) is not new.get(i)]
        return self._do((text, pairs))

    # ---- how commands are done ----

    @property
    def _author(self) -> Author:
        return Author(self.user, self._clock, self.image_size)

    def _do(self, command: Command) -> Change:
        """Apply a command and put it on the undo stack; nothing happens when it touches no cell."""
        self._check_refusal()
        text, pairs = command[0], tuple(command[1])
        if not pairs:
            return Change(text=text, kind=ChangeKind.DO)
        for _, after in pairs:
            if after is not None:
                check_cell(after, self.image_size, self._classes)
        self._history.push(text, pairs)
        return self._apply(text, ChangeKind.DO, pairs)

    def _apply(self, text: str, kind: ChangeKind, pairs: tuple[Pair, ...]) -> Change:
        touched = [cell for before, after in pairs if (cell := after or before) is not None]
        ids = tuple(cell.cell_id for cell in touched)
        self._next_id = max(self._next_id, max(ids) + 1)
        change = Change(text=text, kind=kind, cell_ids=ids, boxes=self._shown.apply(pairs), pairs=pairs)
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

"""The cells of an image under review: commands with an exact inverse on one undo stack."""

from __future__ import annotations

import getpass
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.cells import Box, Cell, CellStore, Status, overlap, union_box
from napari_cellseg.review.filters import CellFilter
from napari_cellseg.review.history import Change, ChangeKind, History, Pair

__all__ = ["Progress", "SessionBase"]


@dataclass(frozen=True)
class Progress:
    """How many cells a person has decided about, of all that are shown or rejected."""

    reviewed: int
    total: int


class SessionBase:
    """State of a review without its commands: what is where, what is shown, what was done.

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
        undo_bytes: int = 128 * 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.image_size = image_size
        self.user = _account() if user is None else user
        self._classes = classes
        self._clock = clock
        self._store = CellStore()
        self._history = History(undo_bytes)
        self._min_scores: dict[int, float] = {}
        self._tally: Counter[tuple[int, Status]] = Counter()
        self._listeners: list[Callable[[Change], None]] = []
        self._next_id = 1
        for cell in cells:
            self._check(cell)
            self._store.put(cell)
            self._count(cell, 1)
            self._next_id = max(self._next_id, cell.cell_id + 1)

    # ---- what is there ----

    @property
    def cells(self) -> Mapping[int, Cell]:
        """Every cell by id, rejected and hidden ones too; live and read-only."""
        return self._store.cells

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
            On setting a table that leaves out a class in use.
        """
        return self._classes

    @classes.setter
    def classes(self, table: ClassTable) -> None:
        used = max((cell.class_id for cell in self.cells.values()), default=0)
        if used > len(table):
            raise AnnotationError(f"There are cells of class {used}; the new class table only has {len(table)}.")
        self._classes = table
        self._tell(Change("classes", ChangeKind.VIEW, boxes=dict.fromkeys(table.class_ids, self._frame)))

    @property
    def min_scores(self) -> Mapping[int, float]:
        """The lowest score a proposed cell of a class is shown and exported with; 0 where none is set."""
        return MappingProxyType(self._min_scores)

    def set_min_scores(self, min_scores: Mapping[int, float]) -> Change:
        """Hide proposed cells below their class's score; a setting of the view, not undoable."""
        proposed = [cell for cell in self.cells.values() if cell.status is Status.PROPOSED]
        shown = {cell.cell_id for cell in proposed if self.is_visible(cell)}
        self._min_scores = dict(min_scores)
        flipped = [cell for cell in proposed if self.is_visible(cell) != (cell.cell_id in shown)]
        for cell in flipped:
            self._tally[cell.class_id, cell.status] += -1 if cell.cell_id in shown else 1
        boxes = _boxes_by_class((cell.class_id, cell.box) for cell in flipped)
        change = Change("minimum score", ChangeKind.VIEW, tuple(cell.cell_id for cell in flipped), boxes)
        self._tell(change)
        return change

    def is_visible(self, cell: Cell) -> bool:
        """Whether the cell is shown and exported: not rejected, and not a proposal below its class's minimum."""
        if cell.status is Status.PROPOSED:
            return cell.score >= self._min_scores.get(cell.class_id, 0.0)
        return cell.status is not Status.REJECTED

    def count(self, class_id: int | None = None, statuses: Collection[Status] | None = None) -> int:
        """Count the cells shown or rejected, of a class and of some statuses; costs nothing."""
        return sum(
            number
            for (of_class, status), number in self._tally.items()
            if class_id in (None, of_class) and (statuses is None or status in statuses)
        )

    @property
    def progress(self) -> Progress:
        """How far the review is."""
        total = self.count()
        return Progress(total - self.count(statuses=(Status.PROPOSED,)), total)

    # ---- looking ----

    def view(self, class_id: int, box: Box | None = None) -> npt.NDArray[np.int32]:
        """Paint what is shown of a class: (height, width) of ``box`` or of the image, int32 cell_ids, 0 is background.

        Where cells overlap, the one with the highest score is on top, and of equal scores the later one.
        """
        x0, y0, x1, y1 = frame = self._frame if box is None else box
        near = self._store.of_class(class_id) if box is None else self._store.near(class_id, frame)
        picture = np.zeros((y1 - y0, x1 - x0), np.int32)
        for cell in sorted(filter(self.is_visible, near), key=_paint_order):
            shared = overlap(cell.box, frame)
            if shared is not None:
                left, top, right, bottom = shared
                part = cell.mask[top - cell.box[1] : bottom - cell.box[1], left - cell.box[0] : right - cell.box[0]]
                picture[top - y0 : bottom - y0, left - x0 : right - x0][part] = cell.cell_id
        return picture

    def cell_at(self, class_id: int, y: int, x: int) -> Cell | None:
        """Return the topmost cell shown of a class at a pixel."""
        near = self._store.near(class_id, (x, y, x + 1, y + 1))
        hit = [cell for cell in near if self.is_visible(cell) and cell.covers(y, x)]
        return max(hit, key=_paint_order, default=None)

    def near(self, class_id: int, box: Box) -> list[Cell]:
        """Return the cells shown of a class whose boxes touch ``box``, by id."""
        found = filter(self.is_visible, self._store.near(class_id, box))
        return sorted(found, key=lambda cell: cell.cell_id)

    def find(self, wanted: CellFilter) -> tuple[int, ...]:
        """Return the ids of the cells shown (and rejected ones when ``statuses`` asks for them) that meet a filter."""
        region = wanted.region(self.image_size)
        if wanted.is_local:
            if region is None:
                return ()
            ids = self._classes.class_ids if wanted.class_ids is None else wanted.class_ids
            candidates: Iterable[Cell] = [cell for i in ids for cell in self._store.near(i, region[0])]
        else:
            candidates = self.cells.values()
        rejected_too = wanted.statuses is not None and Status.REJECTED in wanted.statuses
        found = []
        for cell in candidates:
            shown = self.is_visible(cell) or (rejected_too and cell.status is Status.REJECTED)
            if shown and wanted.accepts(cell) and (region is None or _lies_in(cell, region)):
                found.append(cell.cell_id)
        return tuple(sorted(found))

    def instances(self, statuses: Collection[Status] | None = None) -> InstanceMasks:
        """Return the cells shown, by id, of all statuses or some; those without a label value get free ones."""
        chosen = [
            cell
            for _, cell in sorted(self.cells.items())
            if self.is_visible(cell) and (statuses is None or cell.status in statuses)
        ]
        return InstanceMasks(
            self.image_size,
            np.array([cell.box for cell in chosen], np.int32).reshape(-1, 4),
            np.array([cell.class_id for cell in chosen], np.int32),
            np.array([cell.score for cell in chosen], np.float32),
            tuple(cell.mask for cell in chosen),
            _label_values(chosen),
        )

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
    def undo_size(self) -> int:
        """About how many bytes the undo stack takes."""
        return self._history.size

    def undo(self) -> Change:
        """Take the last command back, exactly; a false `Change` when there is none."""
        step = self._history.undo()
        if step is None:
            return Change("", ChangeKind.UNDO)
        return self._apply(step.text, ChangeKind.UNDO, tuple((after, before) for before, after in step.pairs))

    def redo(self) -> Change:
        """Do the command undone last again, exactly; a false `Change` when there is none."""
        step = self._history.redo()
        return Change("", ChangeKind.REDO) if step is None else self._apply(step.text, ChangeKind.REDO, step.pairs)

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``listener`` after every change; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---- for the commands ----

    def _commit(self, text: str, pairs: Sequence[Pair]) -> Change:
        """Apply a command and put it on the undo stack; nothing happens when it touches no cell."""
        if not pairs:
            return Change(text, ChangeKind.DO)
        for _, after in pairs:
            if after is not None:
                self._check(after)
        self._history.push(text, tuple(pairs))
        return self._apply(text, ChangeKind.DO, tuple(pairs))

    def _apply(self, text: str, kind: ChangeKind, pairs: tuple[Pair, ...]) -> Change:
        stale: list[tuple[int, Box]] = []
        for before, after in pairs:
            stale += self._stale(before, after)
            self._put(before, after)
        ids = tuple(cell.cell_id for before, after in pairs if (cell := after or before) is not None)
        change = Change(text, kind, ids, _boxes_by_class(stale), pairs)
        self._tell(change)
        return change

    def _put(self, before: Cell | None, after: Cell | None) -> None:
        if before is not None:
            self._count(before, -1)
        if after is not None:
            self._count(after, 1)
            self._next_id = max(self._next_id, after.cell_id + 1)
        if before is not None and after is not None:
            self._store.replace(after)
        elif before is not None:
            self._store.remove(before.cell_id)
        elif after is not None:
            self._store.put(after)

    def _stale(self, before: Cell | None, after: Cell | None) -> list[tuple[int, Box]]:
        """Return where the view changes: nowhere when only the status does and the cell stays visible."""
        old = before if before is not None and self.is_visible(before) else None
        new = after if after is not None and self.is_visible(after) else None
        if old is not None and new is not None:
            same = (old.class_id, old.score, old.box) == (new.class_id, new.score, new.box)
            if same and (old.mask is new.mask or np.array_equal(old.mask, new.mask)):
                return []
        return [(cell.class_id, cell.box) for cell in (old, new) if cell is not None]

    def _count(self, cell: Cell, step: int) -> None:
        if cell.status is Status.REJECTED or self.is_visible(cell):
            self._tally[cell.class_id, cell.status] += step

    def _check(self, cell: Cell) -> None:
        x0, y0, x1, y1 = cell.box
        height, width = self.image_size
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height or cell.mask.shape != (y1 - y0, x1 - x0):
            raise AnnotationError(f"Cell #{cell.cell_id} with box {cell.box} leaves the {height} x {width} image.")
        if cell.class_id not in self._classes.class_ids:
            raise AnnotationError(
                f"Cell #{cell.cell_id} has class {cell.class_id}, but there are {len(self._classes)} classes; "
                "add the class first."
            )

    def _get(self, cell_ids: Iterable[int]) -> list[Cell]:
        wanted = list(dict.fromkeys(cell_ids))
        missing = [i for i in wanted if i not in self.cells]
        if missing:
            raise AnnotationError(f"There is no cell #{missing[0]} in this image.")
        return [self.cells[i] for i in wanted]

    @property
    def _frame(self) -> Box:
        return 0, 0, self.image_size[1], self.image_size[0]

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without a user entry; no pwd on Windows
        return "unknown"


def _paint_order(cell: Cell) -> tuple[float, int]:
    return cell.score, cell.cell_id


def _boxes_by_class(places: Iterable[tuple[int, Box]]) -> dict[int, Box]:
    found: dict[int, list[Box]] = {}
    for class_id, box in places:
        found.setdefault(class_id, []).append(box)
    return {class_id: union_box(boxes) for class_id, boxes in found.items()}


def _lies_in(cell: Cell, region: tuple[Box, npt.NDArray[np.bool_]]) -> bool:
    box, mask = region
    shared = overlap(cell.box, box)
    if shared is None:
        return False
    x0, y0, x1, y1 = shared
    inside = cell.crop(shared) & mask[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
    return 2 * int(np.count_nonzero(inside)) >= cell.area


def _label_values(cells: Sequence[Cell]) -> npt.NDArray[np.int64]:
    """Give each cell a value of its own within its class: its own when it has one, else the next above all of them."""
    highest: dict[int, int] = {}
    for cell in cells:
        highest[cell.class_id] = max(highest.get(cell.class_id, 0), cell.label_value)
    values = []
    for cell in cells:
        if not cell.label_value:
            highest[cell.class_id] += 1
        values.append(cell.label_value or highest[cell.class_id])
    return np.array(values, np.int64)

"""The change that a command makes, and the undo stack."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from itertools import chain

from napari_cellseg.review.about import About
from napari_cellseg.review.cells import Box, Cell

__all__ = ["Change", "ChangeKind", "History", "Pair", "Step"]

Pair = tuple[Cell | None, Cell | None]
"""A cell before and after a command; None where the cell does not exist."""

CELL_BYTES = 400
"""Approximate memory of a `Cell` without its mask, bytes."""


class ChangeKind(Enum):
    """The cause of a change."""

    DO = "do"
    UNDO = "undo"
    REDO = "redo"
    VIEW = "view"


@dataclass(frozen=True, kw_only=True)
class Change:
    """The effect of a command; false if it changed nothing.

    Parameters
    ----------
    text : str
        Description for the undo entry: "merge #311 + #87".
    kind : ChangeKind
        DO, UNDO or REDO of a command, or VIEW if only the display changed (minimum scores, classes).
    cell_ids : tuple of int
        Every cell added, removed, changed, shown or hidden.
    boxes : mapping of class_id to box
        The region where the view of a class may have changed; the view of an absent class is unchanged.
    pairs : tuple of (Cell or None, Cell or None)
        Each changed cell before and after.
    about : About or None
        The note and flag of the image afterwards, if the command changed them.
    """

    text: str
    kind: ChangeKind
    cell_ids: tuple[int, ...] = ()
    boxes: Mapping[int, Box] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    about: About | None = None

    def __bool__(self) -> bool:
        return bool(self.cell_ids) or bool(self.boxes) or self.about is not None


@dataclass(frozen=True, eq=False)
class Step:
    """One entry of the undo stack."""

    text: str
    pairs: tuple[Pair, ...]
    about: tuple[About, About] | None = None
    """Before and after."""

    @cached_property
    def size(self) -> int:
        """Approximate memory that dropping the entry frees, bytes; an unchanged mask is not counted."""
        total = CELL_BYTES if self.about is not None else 0
        for before, after in self.pairs:
            total += CELL_BYTES
            if before is not None and (after is None or before.mask is not after.mask):
                total += before.mask.nbytes
            if after is not None and (before is None or before.mask is not after.mask):
                total += after.mask.nbytes
        return total


class History:
    """Commands done and undone, in order; the oldest are dropped when all of them exceed ``limit`` bytes.

    The newest command can always be undone, however large it is.
    """

    def __init__(self, limit: int, about: About) -> None:
        self.limit = limit
        self.about = about
        """The present note and flag of the image."""
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self._bottom = self.newest = Step("", ())
        self.pushed = 0
        """How many commands there were so far; what is added to an earlier one, as by `grow`, is none."""
        self.size = 0

    @property
    def undo_text(self) -> str | None:
        """The command that `undo` would revert."""
        return self._done[-1].text if self._done else None

    @property
    def redo_text(self) -> str | None:
        """The command that `redo` would repeat."""
        return self._undone[-1].text if self._undone else None

    @property
    def texts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The commands that `undo` reverts, and those that `redo` repeats; in each, the next one comes first."""
        return tuple(step.text for step in reversed(self._done)), tuple(step.text for step in reversed(self._undone))

    def cells(self) -> Iterator[Cell]:
        """Iterate over every cell that undo or redo could bring back."""
        for step in chain(self._done, self._undone):
            for pair in step.pairs:
                yield from (cell for cell in pair if cell is not None)

    @property
    def state(self) -> object:
        """A token of the present state: the same object whenever undo and redo return to this state."""
        return self._done[-1] if self._done else self._bottom

    def add(self, step: Step | None, text: str, pairs: tuple[Pair, ...], about: About | None = None) -> None:
        """Push a command, or add its changes to an earlier one; it is `newest` then."""
        self.newest = self.push(text, pairs, about) if step is None else self.grow(step, text, pairs)

    def push(self, text: str, pairs: tuple[Pair, ...], about: About | None = None) -> Step:
        """Push a command, which may set what is noted about the image, and return it; undone ones are forgotten."""
        self.size -= sum(step.size for step in self._undone)
        self._undone.clear()
        self.pushed += 1
        step = Step(text, pairs, None if about is None else (self.about, about))
        self.about = self.about if about is None else about
        self._done.append(step)
        self.size += step.size
        self._forget_oldest()
        return step

    def grow(self, step: Step, text: str, pairs: tuple[Pair, ...]) -> Step:
        """Add changes to a command, as if they had been made with it; return the command that replaces it.

        The cells of ``pairs`` must not be in `touched_since`. The states after the command are new ones, and what was
        undone can still be redone. A command that is forgotten or undone is followed by a new one.
        """
        if step not in self._done:
            return self.push(text, pairs)
        place = self._done.index(step)
        grown = Step(text, _composed(step.pairs, pairs), step.about)
        self.size += grown.size - step.size
        self._done[place] = grown
        for later in range(place + 1, len(self._done)):
            self._done[later] = replace(self._done[later])
        self._undone = [replace(undone) for undone in self._undone]
        self._forget_oldest()
        return grown

    def touched_since(self, step: Step) -> frozenset[int]:
        """Return the ids of the cells that the commands after ``step``, done or undone, change."""
        done = list(self._done)
        after = done[done.index(step) + 1 :] if step in done else done
        pairs = chain.from_iterable(later.pairs for later in chain(after, self._undone))
        return frozenset(cell.cell_id for pair in pairs for cell in pair if cell is not None)

    def is_undone(self, step: Step) -> bool:
        """Return whether `redo` could repeat the command."""
        return step in self._undone

    def _forget_oldest(self) -> None:
        while self.size > self.limit and len(self._done) > 1:
            self._bottom = self._done.popleft()
            self.size -= self._bottom.size

    def undo(self) -> Step | None:
        """Move the newest command to the undone ones, and return what reverts it."""
        if not self._done:
            return None
        step = self._done.pop()
        self._undone.append(step)
        self.about = self.about if step.about is None else step.about[0]
        about = None if step.about is None else (step.about[1], step.about[0])
        return Step(step.text, tuple((after, before) for before, after in step.pairs), about)

    def redo(self) -> Step | None:
        """Move the last undone command back and return it."""
        if not self._undone:
            return None
        step = self._undone.pop()
        self._done.append(step)
        self.about = self.about if step.about is None else step.about[1]
        return step


def _composed(first: tuple[Pair, ...], second: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Return two changes as one: each cell before the first and after the second."""
    pairs: dict[int, Pair] = {}
    for before, after in chain(first, second):
        cell = before or after
        assert cell is not None, "a pair holds a cell"
        pairs[cell.cell_id] = (pairs[cell.cell_id][0] if cell.cell_id in pairs else before), after
    return tuple(pair for pair in pairs.values() if pair != (None, None))

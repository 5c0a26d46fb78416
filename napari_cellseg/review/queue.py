"""The review queue: cells that await a decision, the most doubtful first, each with the reason."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from functools import partial
from itertools import chain, islice

from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.cells import BoolMask, Box, Cell, Status
from napari_cellseg.review.doubts import (
    Doubt,
    Norm,
    Reason,
    Shape,
    norms_of,
    odd_shape,
    overlaps,
    shape_of,
    touches_border,
)
from napari_cellseg.review.features import surroundings
from napari_cellseg.review.history import Change, ChangeKind
from napari_cellseg.review.learning import Learner
from napari_cellseg.review.queue_items import QueueContent, QueueItem, QueueOrder, item_of
from napari_cellseg.review.session import ReviewSession
from napari_cellseg.review.truth import Truth

__all__ = ["QueueContent", "QueueItem", "QueueOrder", "ReviewQueue"]

Key = tuple[float, float, int]
BATCH = 100
"""Cells per step of `ReviewQueue.assess`: about 10 ms."""
LOW_SCORE = 0.6
"""Scores below this value are given as a reason."""
MANY = 2000
"""A change of more cells than this counts as a new image: all cells are assessed again."""


class ReviewQueue:
    """Keeps the cells in order during the review; an update costs in proportion to the cells a command changes.

    Parameters
    ----------
    session : ReviewSession
    truth : InstanceMasks, optional
        The labels on disk, to find where the review disagrees with them.
    order : QueueOrder
    learner : Learner, optional
        Learns from the decisions, for `QueueOrder.LEARNED`; it has begun with the session.
    """

    def __init__(
        self,
        session: ReviewSession,
        truth: InstanceMasks | None = None,
        order: QueueOrder = QueueOrder.WORST,
        learner: Learner | None = None,
    ) -> None:
        self._session = session
        self._learner = learner
        self._truth = None if truth is None else Truth(truth)
        self._order = order
        self.content = QueueContent.PROPOSED
        """Which cells await a decision."""
        self._generation = 0
        self._ready = False
        self._is_whole = False
        self._touched: set[int] = set()
        self._items: dict[int, QueueItem] = {}
        self._keys: dict[int, Key] = {}
        self._order_keys: list[Key] = []
        self._norms: dict[int, Norm] = {}
        self._shapes: dict[int, tuple[BoolMask, Shape]] = {}
        self._unsubscribe = session.subscribe(self._on_change)

    @property
    def is_ready(self) -> bool:
        """Whether all cells are assessed; if not, the next read of the queue blocks until they are."""
        return self._ready

    def assess(self) -> Generator[tuple[int, int], None, None]:
        """Assess all cells in batches; yields (done, total). The session may change meanwhile."""
        while not self._ready:
            work = self._assess_touched if self._is_whole else self._assess_all
            yield from work(self._generation)

    @property
    def order(self) -> QueueOrder:
        """The sort order; set it to sort again."""
        return self._order

    @order.setter
    def order(self, order: QueueOrder) -> None:
        self._order = order
        if self._ready:
            self._sort()

    def sort_again(self) -> Generator[None, None, None]:
        """Sort by what the learner has learned since, in batches; a change meanwhile needs another call."""
        keys: dict[int, Key] = {}
        for number, (item_id, item) in enumerate(list(self._items.items())):
            if number % (2 * BATCH) == 0:
                yield
            keys[item_id] = self._key(item)
        if self._ready and keys.keys() == self._items.keys():
            self._keys, self._order_keys = keys, sorted(keys.values())

    def items(
        self, class_id: int | None = None, *, reviewed_too: bool = False, limit: int | None = None
    ) -> list[QueueItem]:
        """Return the items that await a decision, in order, of one class or all; at most ``limit`` items."""
        found: list[QueueItem] = []
        for key in self._sorted():
            if limit is not None and len(found) >= limit:
                break
            item = self._items[key[2]]
            if self._is_wanted(item, class_id, reviewed_too):
                found.append(self._explained(item))
        return found

    def item(self, cell_id: int) -> QueueItem | None:
        """Return the item of a shown cell."""
        self._sorted()
        return self._items.get(cell_id)

    def next(
        self, after: int | None = None, class_id: int | None = None, *, reviewed_too: bool = False
    ) -> QueueItem | None:
        """Return the item that follows a cell, decided or not; the first follows the last."""
        keys = self._sorted()
        start = bisect_right(keys, self._keys[after]) if after in self._keys else 0
        return self._first_wanted(chain(keys[start:], keys[:start]), after, class_id, reviewed_too)

    def previous(
        self, before: int | None = None, class_id: int | None = None, *, reviewed_too: bool = False
    ) -> QueueItem | None:
        """Return the item that precedes a cell; the last precedes the first."""
        keys = self._sorted()
        end = bisect_left(keys, self._keys[before]) if before in self._keys else 0
        return self._first_wanted(chain(keys[:end][::-1], keys[end:][::-1]), before, class_id, reviewed_too)

    def awaits(self, cell_id: int) -> bool:
        """Return whether a cell of the session awaits a decision in this queue."""
        cell = self._session.cells[cell_id]
        return cell.status in self.content.statuses and (cell.is_flagged or not self.content.is_flagged)

    def label(self, item_id: int) -> Cell | None:
        """Return the cell on disk of an item with a negative id."""
        return self._truth.label(-item_id) if self._truth is not None and item_id < 0 else None

    def close(self) -> None:
        """Stop following the session."""
        self._unsubscribe()

    # ---- order ----

    def _sorted(self) -> list[Key]:
        for _ in self.assess():
            pass
        return self._order_keys

    def _first_wanted(
        self, keys: Iterable[Key], not_this: int | None, class_id: int | None, reviewed_too: bool
    ) -> QueueItem | None:
        for key in keys:
            item = self._items[key[2]]
            if item.cell_id != not_this and self._is_wanted(item, class_id, reviewed_too):
                return item
        return None

    def _is_wanted(self, item: QueueItem, class_id: int | None, reviewed_too: bool) -> bool:
        if class_id not in (None, item.class_id):
            return False
        if item.is_missed:
            return reviewed_too or not self.content.is_flagged
        return reviewed_too or self.awaits(item.cell_id)

    def _key(self, item: QueueItem) -> Key:
        x0, y0, _, _ = item.box
        chance = self._learner.chance(item.cell_id) if self._learner and self._order is QueueOrder.LEARNED else None
        first, second = {
            QueueOrder.WORST: (-item.doubt, item.score),
            QueueOrder.LEARNED: (-item.doubt if chance is None else -chance, item.score),
            QueueOrder.LOWEST_SCORE: (item.score, -item.doubt),
            QueueOrder.SMALLEST: (item.area, 0.0),
            QueueOrder.LARGEST: (-item.area, 0.0),
            QueueOrder.POSITION: (y0, x0),
        }[self._order]
        return first, second, item.cell_id

    def _explained(self, item: QueueItem) -> QueueItem:
        """Give the reason for the place of the item in the learned order."""
        if self._learner is None or self._order is not QueueOrder.LEARNED or item.is_missed:
            return item
        return replace(item, text=self._learner.reason(item.cell_id) or item.text)

    def _sort(self) -> None:
        self._keys = {cell_id: self._key(item) for cell_id, item in self._items.items()}
        self._order_keys = sorted(self._keys.values())

    # ---- assessing ----

    def _assess_all(self, generation: int) -> Generator[tuple[int, int], None, None]:
        for state in (self._touched, self._items, self._shapes):
            state.clear()
        steps = self._steps()
        for done, step in enumerate(steps):
            if done % BATCH == 0:
                yield done, len(steps)
                if generation != self._generation:  # everything changed meanwhile: start again
                    return
            step()
        self._sort()
        self._is_whole = True

    def _steps(self) -> list[Callable[[], object]]:
        """Return what assesses all cells."""
        cells = [cell for cell in self._session.cells.values() if self._session.is_visible(cell)]
        # They made the norms when they were proposed: without them, the order would change when the image is reopened.
        rejected = [cell for cell in self._session.cells.values() if cell.status is Status.REJECTED]
        labels = [] if self._truth is None else list(self._truth.all())
        return [
            *(partial(self._shape, cell) for cell in (*cells, *rejected)),
            self._measure_norms,
            *(partial(self._assess, cell.cell_id) for cell in cells),
            *(partial(self._assess, -label.cell_id) for label in labels),
        ]

    def _assess_touched(self, generation: int) -> Generator[tuple[int, int], None, None]:
        done = 0
        while self._touched:
            yield done, done + len(self._touched)
            if generation != self._generation:
                return
            batch = list(islice(self._touched, BATCH))
            self._touched.difference_update(batch)
            self._update(batch)
            done += len(batch)
        self._ready = True

    def _measure_norms(self) -> None:
        cells = self._session.cells
        self._norms = norms_of((cells[i].class_id, shape) for i, (_, shape) in self._shapes.items() if i in cells)

    def _shape(self, cell: Cell) -> Shape:
        known = self._shapes.get(cell.cell_id)
        if known is None or known[0] is not cell.mask:
            known = self._shapes[cell.cell_id] = cell.mask, shape_of(cell.mask)
        return known[1]

    def _assess(self, item_id: int) -> None:
        if item_id < 0:
            self._assess_label(item_id)
        else:
            self._assess_cell(item_id)

    def _assess_cell(self, cell_id: int) -> None:
        cell = self._session.cells.get(cell_id)
        if cell is None or not self._session.is_visible(cell):
            self._items.pop(cell_id, None)
            return
        names = self._session.classes.names
        shape = self._shape(cell)
        around = self._near(surroundings(cell) if self._learner else cell.box)
        doubts = [
            *overlaps(cell, around, names),
            *odd_shape(shape, self._norms.get(cell.class_id)),
            *touches_border(cell, self._session.image_size),
            *(self._truth.doubts(cell, names) if self._truth is not None else ()),
            Doubt(Reason.LOW_SCORE, 1 - cell.score, "low score" if cell.score < LOW_SCORE else ""),
        ]
        self._items[cell_id] = item_of(cell, cell_id, doubts)
        if self._learner is not None:
            self._learner.observe(cell, shape, self._norms.get(cell.class_id), doubts, len(around) - 1)

    def _assess_label(self, item_id: int) -> None:
        label = self._truth.label(-item_id) if self._truth is not None else None
        if label is not None and Truth.is_missed(label, self._near):
            self._items[item_id] = item_of(label, item_id, [Doubt(Reason.MISSED, 1.0, "only in the labels")])
        else:
            self._items.pop(item_id, None)

    def _near(self, box: Box) -> list[Cell]:
        return [cell for class_id in self._session.classes.class_ids for cell in self._session.near(class_id, box)]

    # ---- following ----

    def _on_change(self, change: Change) -> None:
        if self._learner is not None:
            self._learner.follow(change)
        if not change:  # such as a minimum score that hides no cell
            return
        if len(change.cell_ids) > MANY or (change.kind is ChangeKind.VIEW and not change.cell_ids):
            self._generation += 1  # as good as another image, or renamed classes
            self._is_whole = self._ready = False
            return
        touched = self._touched_by(change)
        if self._ready and len(touched) <= BATCH:
            self._update(touched)
        else:
            self._touched |= touched
            self._ready = False

    def _touched_by(self, change: Change) -> set[int]:
        """Return the ids of the items that a change may change."""
        touched = set(change.cell_ids)
        if change.boxes:  # the view changed: neighbours may start or stop to overlap or to be missed
            for box in {cell.box for pair in change.pairs for cell in pair if cell is not None}:
                touched.update(cell.cell_id for cell in self._near(box))
                touched.update(-label.cell_id for label in (self._truth.near(box) if self._truth is not None else ()))
        return touched

    def _update(self, ids: Iterable[int]) -> None:
        """Assess items again and move each to its new position."""
        for item_id in ids:
            if item_id in self._keys:
                del self._order_keys[bisect_left(self._order_keys, self._keys.pop(item_id))]
            self._assess(item_id)
            if item_id in self._items:
                self._keys[item_id] = self._key(self._items[item_id])
                insort(self._order_keys, self._keys[item_id])

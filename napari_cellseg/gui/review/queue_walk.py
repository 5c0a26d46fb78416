"""`QueueWalk`: the queue of the current image, assessed a little at a time while the window stays alive."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import partial

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.review.second_reader import SecondReader
from napari_cellseg.gui.state import AppState
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell, Change, Learner, ReviewSession, Status
from napari_cellseg.review.dispute_queue import DisputeQueue
from napari_cellseg.review.disputes import Disputes
from napari_cellseg.review.queue import QueueContent, QueueItem, QueueOrder, ReviewQueue
from napari_cellseg.workspace import Project

__all__ = ["QueueWalk"]

_LEARN_MS = 150
"""After the last decision: the next cell is on the canvas by then."""
_STAIN_PIXELS = 25_000_000
"""The stain of larger images is not looked at: converting one takes too long for the window."""


class QueueWalk(QObject):
    """Which cell comes next.

    Attributes
    ----------
    class_id : int or None
        Only this class; None for all.
    content : QueueContent
        Which cells await a decision.
    assessed : (int, int) or None
        How many cells of how many are assessed; None when all are.
    learner : Learner
        What the decisions in the open folder, in this window, have taught.
    second : SecondReader
        The cells of another reader, for `QueueContent.DISPUTED`.
    """

    changed = Signal()
    """The queue is another one, is complete, or is in another order."""
    learned = Signal()
    """The decisions so far are learned, and the queue is sorted by them if that is its order."""

    def __init__(self, state: AppState, layers: ClassLayers) -> None:
        super().__init__()
        self._state = state
        self._queue: ReviewQueue | None = None
        self.learner = Learner()
        self._sorting: Iterator[None] = iter(())
        self._alike: tuple[int, ...] = ()
        self._order = QueueOrder.WORST
        self.content = QueueContent.PROPOSED
        self._is_wanted = False
        self.class_id: int | None = None
        self.assessed: tuple[int, int] | None = None
        self._assessing: Iterator[tuple[int, int]] = iter(())
        self._began: ReviewSession | None = None
        self._labels: InstanceMasks | None = None
        self.second = SecondReader(state)
        self._truth = Job(state, "reading the labels on disk")
        self._turn = QTimer(self)
        self._turn.setInterval(0)
        self._turn.timeout.connect(self._assess_some)
        self._learn_turn = QTimer(self)
        self._learn_turn.timeout.connect(self._learn_some)
        self._truth.finished.connect(self._on_truth)
        layers.ready.connect(self._begin)
        layers.session_changed.connect(self._on_change)
        state.current_changed.connect(self._stop)
        state.workspace_changed.connect(self._forget)
        self.second.changed.connect(self._on_second)

    @property
    def is_ready(self) -> bool:
        """Return whether the queue is ready."""
        return self._queue is not None and self._queue.is_ready

    @property
    def order(self) -> QueueOrder:
        """What comes first."""
        return self._order

    def choose(self, class_id: int | None, order: QueueOrder, content: QueueContent = QueueContent.PROPOSED) -> None:
        """Choose what the queue holds and what comes first."""
        is_other_kind = content.is_disputed is not self.content.is_disputed
        self.class_id, self._order, self.content = class_id, order, content
        if is_other_kind:
            self._renew()
        elif self._queue is not None:
            self._queue.order, self._queue.content = order, content
        self.changed.emit()

    @property
    def disputes(self) -> Disputes | None:
        """The disputes with another reader while the queue has only these; else None."""
        return self._queue.disputes if isinstance(self._queue, DisputeQueue) and self.is_ready else None

    @property
    def open_disputes(self) -> int:
        """The number of disputes of this image that are not settled."""
        return len(self._queue.item_ids) if isinstance(self._queue, DisputeQueue) else 0

    def awaits(self, cell_id: int) -> bool:
        """Return whether a cell of the image awaits a decision in this queue."""
        return self._queue is not None and self.is_ready and self._queue.awaits(cell_id)

    @property
    def rejected_alike(self) -> tuple[int, ...]:
        """The proposed cells that are likely to be rejected, the likeliest first; empty while that is not learned."""
        session = self._state.session
        if session is None:
            return ()
        shown = ((i, session.cells[i]) for i in self._alike if i in session.cells)
        return tuple(i for i, cell in shown if cell.status is Status.PROPOSED and session.is_visible(cell))

    def items(self, limit: int) -> list[QueueItem]:
        """Return the first items of the queue; empty while it is not complete."""
        return self._queue.items(self.class_id, limit=limit) if self._queue is not None and self.is_ready else []

    def item(self, cell_id: int) -> QueueItem | None:
        """Return what is known of a cell; None while the queue is not complete."""
        return self._queue.item(cell_id) if self._queue is not None and self.is_ready else None

    def next(self, after: int | None) -> QueueItem | None:
        """Return the item after a cell; None when nothing is left."""
        return self._queue.next(after, self.class_id) if self._queue is not None and self.is_ready else None

    def previous(self, before: int | None) -> QueueItem | None:
        """Return the item before a cell; None when nothing is left."""
        return self._queue.previous(before, self.class_id) if self._queue is not None and self.is_ready else None

    def following(self, cell_id: int | None, count: int) -> tuple[int, ...]:
        """Return the ids of the next items after a cell."""
        found: list[int] = []
        while len(found) < count:
            item = self.next(found[-1] if found else cell_id)
            if item is None or item.cell_id in found or item.cell_id == cell_id:
                break
            found.append(item.cell_id)
        return tuple(found)

    def waiting(self, cell_ids: Iterable[int | None]) -> QueueItem | None:
        """Return the first of some items that still awaits a decision and is in the queue."""
        session = self._state.session
        for cell_id in cell_ids:
            item = None if cell_id is None else self.item(cell_id)
            if item is None or session is None or self.class_id not in (None, item.class_id):
                continue
            if item.is_missed or (self._queue is not None and self._queue.awaits(item.cell_id)):
                return item
        return None

    @property
    def is_finished(self) -> bool:
        """Whether the image has cells, and none that the queue is for awaits a decision."""
        session = self._state.session
        if session is None or not self.is_ready or not session.count():
            return False
        if not (self.content.is_flagged or self.content.is_disputed) and session.count(statuses=self.content.statuses):
            return False
        return self._queue is not None and self._queue.next() is None

    def label(self, item_id: int) -> Cell | None:
        """Return the cell on disk that a missed item stands for."""
        return self._queue.label(item_id) if self._queue is not None else None

    def begin(self) -> None:
        """Keep a queue from now on, for this image and all later ones; assessing the cells takes time."""
        self._is_wanted = True
        self._begin()

    def finish(self) -> None:
        """Assess the remaining cells now."""
        while self._turn.isActive():
            self._assess_some()
        while self._learn_turn.isActive():
            self._learn_some()

    def close(self) -> None:
        """Stop assessing."""
        self.second.stop()
        self._stop()

    # ---- how ----

    def _begin(self) -> None:
        session, workspace, image_id = self._state.session, self._state.workspace, self._state.image_id
        if session is None or self._began is session or not self._is_wanted:
            return
        self._began = session
        image = self._state.image
        small = image is not None and session.image_size[0] * session.image_size[1] <= _STAIN_PIXELS
        self.learner.begin(session, image.rgb() if image is not None and small else None)
        self._renew()
        if workspace is not None and image_id is not None:
            self._truth.start(partial(_read_truth, workspace.project, image_id, session.image_size))

    def _renew(self) -> None:
        """Make the queue of the content that is chosen."""
        session = self._began
        if session is None:
            return
        reader = self.second.reader
        if not self.content.is_disputed:
            self.use(ReviewQueue(session, self._labels, self._order, self.learner))
        elif reader is not None:
            self.use(DisputeQueue(session, Disputes(session, reader), self._order, self.learner))
        else:
            self._drop()
            self.second.read()
            self.changed.emit()

    def _on_second(self) -> None:
        if self.content.is_disputed:
            if self.second.problem:
                self._drop()
                self.changed.emit()
            else:
                self._renew()

    def _on_truth(self, truth: InstanceMasks | None) -> None:
        self._labels = truth  # a job reports only its last run
        if truth is not None and not self.content.is_disputed:
            self._renew()

    def use(self, queue: ReviewQueue) -> None:
        """Walk through a queue in place of the one before; it is assessed a little at a time."""
        self._drop()
        self._queue = queue
        queue.content = self.content
        self._assess()

    def _drop(self) -> None:
        self._turn.stop()
        self.assessed = None
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def _assess(self) -> None:
        if self._queue is not None and not self._queue.is_ready and not self._turn.isActive():
            self._assessing = self._queue.assess()
            self._turn.start()

    def _assess_some(self) -> None:
        self.assessed = next(self._assessing, None)
        if self.assessed is None:
            self._turn.stop()
            self._learn_turn.start(_LEARN_MS)
            self._note_open()
            self.changed.emit()

    def _note_open(self) -> None:
        image_id = self._state.image_id
        if self.disputes is not None and image_id is not None:
            self._state.set_disputed({**self._state.disputed, image_id: self.open_disputes})

    def _on_change(self, change: Change) -> None:
        self._assess()
        if change.cell_ids:
            self._sorting = iter(())
            self._learn_turn.start(_LEARN_MS)

    def _learn_some(self) -> None:
        """Learn from the decisions, then sort in batches, between events of the window."""
        session = self._state.session
        if session is None or self._queue is None or not self._queue.is_ready:
            return  # the next turn looks again
        if self._learn_turn.interval():
            self.learner.learn()
            self._alike = self.learner.like_rejected(i for i, cell in session.cells.items() if not cell.reviewed)
            self._note_open()
            is_ordering = self._order is QueueOrder.LEARNED
            self._sorting = self._queue.sort_again() if is_ordering else iter(())
            self._learn_turn.setInterval(0)
        if next(self._sorting, self) is self:
            self._learn_turn.stop()
            self.learned.emit()

    def _forget(self) -> None:
        self.learner = Learner()  # another folder: another stain, other classes

    def _stop(self) -> None:
        self._learn_turn.stop()
        self._alike = ()
        self._truth.stop()
        self._began = self._labels = None
        self._drop()
        self.changed.emit()


def _read_truth(
    project: Project, image_id: str, image_size: tuple[int, int]
) -> Generator[None, None, InstanceMasks | None]:
    yield
    return project.labels_on_disk(image_id, image_size)

"""`Adjudicating`: decisions about the cells on which another reader differs, and that reader's outlines."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

from napari_cellseg.formats.outlines import outlines, signed_area
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.sketch import Sketch
from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.review.queue_walk import QueueWalk
from napari_cellseg.gui.state import AppState
from napari_cellseg.review import Box, Cell, CellCommand, Change, ReviewSession
from napari_cellseg.review.cells import KEPT, union_box
from napari_cellseg.review.disputes import Dispute
from napari_cellseg.review.queue_items import QueueItem
from napari_cellseg.review.settling import leaving_out, settling, taking

__all__ = ["Adjudicating"]

_LAYER = "other reader"
_ZOOM_MS = 100
"""The outline gets the width for another zoom after this time."""


class Adjudicating(QObject):
    """What decisions mean while the queue has only the disputed cells; elsewhere they mean what they always do.

    Parameters
    ----------
    state : AppState
    queue : QueueWalk
    run : callable
        Does a command on the session; returns None, after it told the user the reason, when that is not possible.
    """

    def __init__(
        self,
        state: AppState,
        queue: QueueWalk,
        run: Callable[[Callable[[ReviewSession], Change]], Change | None],
    ) -> None:
        super().__init__()
        self._state, self._queue, self._run = state, queue, run
        self._sketch = Sketch(state.viewer, _LAYER)
        self._shown: Cell | None = None
        self._zoomed = QTimer(self)
        self._zoomed.setSingleShot(True)
        self._zoomed.setInterval(_ZOOM_MS)
        self._zoomed.timeout.connect(self._draw)
        camera_of(state.viewer).events.zoom.connect(lambda _: self._zoomed.start() if self._shown is not None else None)

    @property
    def name(self) -> str:
        """The name of the other reader; empty outside the queue of disputed cells."""
        disputes = self._queue.disputes
        return "" if disputes is None else disputes.reader.name

    def settling(self, command: CellCommand) -> CellCommand:
        """Return a command that also settles the disputes about its cells."""
        disputes = self._queue.disputes
        return command if disputes is None else settling(command, disputes)

    def dispute(self, item_id: int | None) -> Dispute | None:
        """Return the open dispute about an item of the queue."""
        disputes = self._queue.disputes
        return None if disputes is None or item_id is None else disputes.get(item_id)

    def take(self, item_id: int, class_id: int | None = None) -> bool:
        """Take what the other reader decided about an item; returns whether that was possible."""
        disputes = self._queue.disputes
        if disputes is None:
            return False
        command = self._run(lambda session: session.do(taking(disputes, item_id, session.next_id, class_id), ()))
        return bool(command)

    def leave_out(self, item_id: int) -> bool:
        """Reject a cell that only the other reader has; returns whether that was possible."""
        disputes = self._queue.disputes
        if disputes is None:
            return False
        return bool(self._run(lambda session: session.do(leaving_out(disputes, item_id, session.next_id), ())))

    def place(self, item_id: int, box: Box) -> Box:
        """Return the box around both cells of a dispute; ``box`` if there is none."""
        dispute = self.dispute(item_id)
        both = () if dispute is None else (dispute.mine, dispute.other)
        return union_box([box, *(cell.box for cell in both if cell is not None)])

    def show(self, item_id: int | None) -> None:
        """Draw the outline of the other reader's cell in its class colour, or none."""
        dispute = self.dispute(item_id)
        other = None if dispute is None or dispute.other is None or dispute.other.status not in KEPT else dispute.other
        if other is not self._shown or self._sketch.is_removed:
            self._shown = other
            self._draw()

    def close(self) -> None:
        """Stop following the zoom."""
        self._zoomed.stop()

    def _draw(self) -> None:
        """Draw the outline with the width for the present zoom."""
        other, session = self._shown, self._state.session
        if other is None or session is None:
            self._sketch.clear()
        else:
            ring = max(outlines(other.mask, *other.box[:2]), key=signed_area).astype(float) - 0.5
            self._sketch.outline([(y, x) for x, y in ring.tolist()], session.classes.colour(other.class_id))

    def next_image(self) -> str | None:
        """Return the next image of the folder with open disputes, as far as is known; None if there is none."""
        state = self._state
        ids = [file.image_id for file in state.images]
        here = ids.index(state.image_id) + 1 if state.image_id in ids else 0
        others = (name for name in (*ids[here:], *ids[: max(here - 1, 0)]) if state.disputed.get(name, 0))
        return next(others, None)

    def begin(self, opener: Opener) -> None:
        """Open an image with open disputes if the one on the canvas has none."""
        here = self._state.disputed.get(self._state.image_id or "", 0)
        name = None if here else self.next_image()
        if name is not None:
            opener.show(name)

    def step_from_end(self, opener: Opener) -> None:
        """Open the next image, or the next one with open disputes while the queue has only these."""
        name = self.next_image() if self._queue.content.is_disputed else None
        opener.step(1) if name is None else opener.show(name)

    def missed_text(self, item: QueueItem, class_name: str) -> str:
        """Say what can be done about a cell that only the labels on disk, or the other reader, have."""
        if self.dispute(item.cell_id) is None:
            return f"Missed: a cell {class_name} is {item.text}. Accept adds it, Next skips it."
        return self.hint(item.cell_id)

    def hint(self, item_id: int) -> str:
        """Say what can be done about a cell that only the other reader has; empty for any other cell."""
        dispute, session = self.dispute(item_id), self._state.session
        if dispute is None or dispute.other is None or session is None or item_id > 0:
            return ""
        class_name = session.classes.name(dispute.other.class_id)
        return f"Only {self.name} has this cell: {class_name}. A or W takes it, R leaves it out, N skips it."

"""`Bulk`: decisions about many cells that need not be selected, as one undo step each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from napari_cellseg.gui.canvas.camera import view_box
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.tools import Tools
from napari_cellseg.gui.review.adjudicating import Adjudicating
from napari_cellseg.gui.review.queue_walk import QueueWalk
from napari_cellseg.gui.state import AppState
from napari_cellseg.review import Author, CellFilter, Change, ReviewSession, Status
from napari_cellseg.wording import counted

__all__ = ["Bulk"]


class Bulk:
    """What is decided about all cells of a filter, or in view.

    Parameters
    ----------
    state : AppState
    layers : ClassLayers
    queue : QueueWalk
    tools : Tools
    adjudicating : Adjudicating
    run : callable
        Does a command on the session; returns None, after it told the user the reason, when that is not possible.
    """

    def __init__(
        self,
        state: AppState,
        layers: ClassLayers,
        queue: QueueWalk,
        tools: Tools,
        adjudicating: Adjudicating,
        run: Callable[[Callable[[ReviewSession], Change]], Change | None],
    ) -> None:
        self._state, self._layers, self._queue, self._run = state, layers, queue, run
        self._tools, self._adjudicating = tools, adjudicating

    def find(self, wanted: CellFilter) -> tuple[int, ...]:
        """Return the ids of the cells of the queue that meet a filter."""
        session = self._state.session
        ids = () if session is None else session.find(wanted)
        return tuple(filter(self._queue.awaits, ids)) if self._queue.content.is_disputed else ids

    def accept_in_view(self) -> None:
        """Accept all cells of the queue that lie, by half of their pixels or more, in view."""
        shown = [layer.class_id for layer in self._layers if layer.visible]
        content, box = self._queue.content, view_box(self._state.viewer)
        ids = self.find(CellFilter(class_ids=shown, statuses=content.statuses, box=box, flagged=content.is_flagged))
        if not ids:
            self._say("No cell in view awaits a decision.")
        elif self.accept_all(ids):
            self._tools.point()
            self._say(f"{counted(len(ids), 'cell')} in view accepted. Undo takes back all of them.")

    def reject_all(self, cell_ids: Iterable[int]) -> Change | None:
        """Reject cells."""
        return self._set_status(tuple(cell_ids), Status.REJECTED)

    def accept_all(self, cell_ids: Iterable[int]) -> Change | None:
        """Accept cells."""
        return self._set_status(tuple(cell_ids), Status.ACCEPTED)

    def _set_status(self, ids: tuple[int, ...], status: Status) -> Change | None:
        command = self._adjudicating.settling(partial(Author.set_status, status=status))
        return self._run(lambda session: session.do(command, ids))

    def _say(self, text: str) -> None:
        self._state.viewer.status = text

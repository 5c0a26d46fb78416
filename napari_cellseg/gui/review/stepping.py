"""`Stepping`: undo and redo of one or many steps, and a look at the place where the last one was."""

from __future__ import annotations

from collections.abc import Callable

from napari_cellseg.gui.canvas.camera import is_in_view, move_to
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.state import AppState
from napari_cellseg.review import Change, ChangeKind, ReviewSession, Status
from napari_cellseg.wording import counted

__all__ = ["Stepping"]


class Stepping:
    """The way along the undo stack.

    Parameters
    ----------
    state : AppState
    layers : ClassLayers
    run : callable
        Does a command on the session; returns None, after it told the user the reason, when that is not possible.
    """

    def __init__(
        self,
        state: AppState,
        layers: ClassLayers,
        run: Callable[[Callable[[ReviewSession], Change]], Change | None],
    ) -> None:
        self._state, self._layers, self._run = state, layers, run
        self._undone_prediction = "", 0  # the command and its cells

    def go_by(self, steps: int) -> None:
        """Undo ``-steps`` commands, or redo ``steps``, and show where the last one was."""
        change = self._run(lambda session: session.go_by(steps))
        session = self._state.session
        if change is None or session is None:
            return
        if not change:
            self._say(f"There is nothing to {'undo' if steps < 0 else 'redo'}.")
            return
        if change.kind is ChangeKind.UNDO:
            removed = [cell for cell, before in change.pairs if cell is not None and before is None]
            is_prediction = all(cell.status is Status.PROPOSED for cell in removed)
            self._undone_prediction = change.text, len(removed) if is_prediction else 0
        self._show(change, session)
        done = f"{counted(abs(steps), 'step')}, the last one: " if abs(steps) > 1 else ""
        verb = "Undone" if change.kind is ChangeKind.UNDO else "Done again"
        self._say(self.undone_text or f"{verb}: {done}{change.text}")

    @property
    def undone_text(self) -> str:
        """How to get the cells of a model back after undo has removed all of them; else empty."""
        command, cells = self._undone_prediction
        if not cells or self._state.session is None or self._state.session.redo_text != command:
            return ""
        return f"{counted(cells, 'cell')} of the model removed. Redo (Ctrl+Shift+Z) brings them back."

    def _show(self, change: Change, session: ReviewSession) -> None:
        """Select the cells of a change, and move the canvas to them if they are out of view."""
        if not change.pairs:  # the note of the image
            self._state.select(())
            return
        shown = [i for i in change.cell_ids if i in session.cells and session.is_visible(session.cells[i])]
        self._state.select(shown[:100])
        where = session.cells[shown[0]] if shown else next(c for pair in change.pairs for c in pair if c is not None)
        self._layers.activate(where.class_id)
        layer = self._layers.layer(where.class_id)
        if layer is not None and not is_in_view(layer, where.box):
            move_to(self._state.viewer, where.box, session.image_size)

    def _say(self, text: str) -> None:
        self._state.viewer.status = text

"""`NewCell`: a click on a missed cell, or a box around it, becomes an outline that can be resized and accepted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_cellseg.class_match import match_classes
from napari_cellseg.errors import CellSegError, ConfigError
from napari_cellseg.formats.outlines import outlines, signed_area
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.pointing import dragged_path
from napari_cellseg.gui.canvas.sketch import Sketch, to_pixels
from napari_cellseg.gui.canvas.tools import Tool, Tools
from napari_cellseg.gui.review.cell_finder import CellFinder, FoundCell
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_warning
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.prompts import CellAnswer, Way
from napari_cellseg.review import Cell, Change, ReviewSession
from napari_cellseg.review.missed import add_missed, free_part, hidden_at, left_out_text

__all__ = ["NewCell"]

_LEAST_SIDE = 3
"""A smaller box, px of the image, is a click."""
_READY = "Click a missed cell, or drag a box around it. Esc ends."


class NewCell(QObject):
    """The tool that finds missed cells, and the new cell that is shown until it is accepted or dropped.

    Parameters
    ----------
    state : AppState
    layers : ClassLayers
    tools : Tools
        The tool is `Tool.CELL`.
    finder : CellFinder
        Answers.
    """

    changed = Signal()
    """Another new cell is shown, or none; `hint` is another."""

    def __init__(self, state: AppState, layers: ClassLayers, tools: Tools, finder: CellFinder) -> None:
        super().__init__()
        self._state, self._layers, self._tools, self._finder = state, layers, tools, finder
        self._sketch = Sketch(state.viewer)
        self._sizes: InstanceMasks | None = None
        self._size = 0
        self._class_id = 0
        self._is_class_chosen = self._is_resized = False
        self._way = ""
        self.hint = ""
        finder.found.connect(self._on_found)
        tools.changed.connect(self._on_tool)
        state.selection_changed.connect(self._on_selection)
        state.viewer.mouse_drag_callbacks.append(self._on_press)
        state.viewer.mouse_wheel_callbacks.append(self._on_wheel)

    @property
    def is_shown(self) -> bool:
        """Whether there is a new cell to accept."""
        return self._sizes is not None

    @property
    def is_waiting(self) -> bool:
        """Whether a cell was asked for, and nothing is shown yet."""
        return self._sizes is None and self._finder.job.is_busy

    def begin(self) -> None:
        """Say what to do, and load the model meanwhile."""
        self.drop()
        self._tell(_READY)
        self._finder.warm_up()

    def accept(self, session: ReviewSession) -> Change:
        """Add the new cell to the session; the tool stays, for the next cell.

        Raises
        ------
        AnnotationError
            The session refuses edits.
        """
        sizes, place = self._sizes, self._size
        assert sizes is not None, "the action needs a new cell"
        new_id, name = session.next_id, session.classes.name(self._class_id)
        x0, y0, x1, y1 = sizes.boxes[place].tolist()
        clipped = left_out_text(free_part(session, (x0, y0, x1, y1), sizes.masks[place]))
        change = add_missed(session, self._class_id, (x0, y0, x1, y1), sizes.masks[place])
        self.drop()
        self._tell(f"#{new_id} added: {name}.{f' {clipped}.' if clipped else ''} Click the next cell; Esc ends.")
        return change

    def drop(self) -> None:
        """Show no new cell any more, and wait for none."""
        self._finder.stop()
        was_shown, self._sizes = self._sizes is not None, None
        self._is_class_chosen = self._is_resized = False
        if self._state.viewer is None:  # closed
            return
        self._sketch.clear()
        camera_of(self._state.viewer).mouse_zoom = True
        if was_shown:
            self._tell("The new cell was dropped. " + _READY if self._is_on else "The new cell was dropped.")
            if not self._is_on:
                self.hint = ""

    def escape(self) -> None:
        """Drop the new cell; without one, return to pointing."""
        if self.is_shown or self.is_waiting:
            self.drop()
            self._tell(_READY)
        else:
            self._tools.point()

    def use_class(self, class_id: int) -> None:
        """Give the new cell a class."""
        self._class_id, self._is_class_chosen = class_id, True
        self._show()

    def resize(self, step: int) -> None:
        """Show the next larger (1) or smaller (-1) size."""
        if self._sizes is None:
            return
        place = min(max(self._size + step, 0), len(self._sizes) - 1)
        if place == self._size:
            self._state.viewer.status = (
                f"This is the {'largest' if step > 0 else 'smallest'} size. Drag a box to set another."
            )
            return
        self._size, self._is_resized = place, True
        self._show()

    # ---- the mouse ----

    @property
    def _is_on(self) -> bool:
        return self._tools.tool is Tool.CELL

    def _on_press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        if not self._is_on or self._state.session is None or event.button != 1 or set(event.modifiers):
            return
        path = yield from dragged_path(viewer, event, self._sketch, box=True)
        corners = np.array(path) + 0.5 if path else np.zeros((1, 2))
        (y0, x0), (y1, x1) = corners.min(0).tolist(), corners.max(0).tolist()
        if min(y1 - y0, x1 - x0) >= _LEAST_SIDE:
            self._ask_box((x0, y0, x1, y1))
        else:
            self._ask_point(event.position)

    def _on_wheel(self, viewer: Any, event: Any) -> None:  # noqa: ARG002 - napari passes the viewer
        if self._is_on and self.is_shown and not set(event.modifiers):
            self.resize(1 if event.delta[1] > 0 else -1)
            event.handled = True

    def _ask_point(self, position: Sequence[float]) -> None:
        session = self._state.session
        if session is None:
            return
        cell = self._layers.cell_at(position)
        if cell is not None:
            self.drop()
            self._state.select((cell.cell_id,))
            self._layers.activate(cell.class_id)
            self._tell(f"#{cell.cell_id} is there already and is selected now. " + _READY)
            return
        y, x = to_pixels(self._state.viewer, position)
        height, width = session.image_size
        if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
            self._tell("This is outside the image. " + _READY)
            return
        hidden = hidden_at(session, round(y), round(x))
        self._ask((y, x), None, hidden)

    def _ask_box(self, box: tuple[float, float, float, float]) -> None:
        session = self._state.session
        if session is None:
            return
        height, width = session.image_size
        x0, y0, x1, y1 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
        if min(x1 - x0, y1 - y0) < _LEAST_SIDE:
            self._sketch.clear()
            self._tell("This box is outside the image. " + _READY)
            return
        self._ask(None, (x0, y0, x1, y1), [])

    def _ask(
        self,
        point: tuple[float, float] | None,
        drawn: tuple[float, float, float, float] | None,
        hidden: list[Cell],
    ) -> None:
        """Show the best proposal below the minimum score immediately, and ask the model for a better answer."""
        session = self._state.session
        assert session is not None, "checked by the callers"
        if self._is_refused(session):
            return
        self.drop()
        self._state.select(())
        try:
            self._finder.ask(point=point, drawn=drawn, proposals=[cell.box for cell in hidden])
        except CellSegError as error:
            self._tell(str(error))
        if hidden:
            best = hidden[0]
            self._sizes = InstanceMasks.from_crops(
                session.image_size, [best.box[:2]], [best.mask], [best.class_id], [best.score]
            )
            self._size, self._class_id, self._way = 0, best.class_id, Way.PROPOSAL.value
            self._show()
        elif self._finder.job.is_busy:
            self._tell("Finding the cell... (the first time, the model is loaded). Esc stops.")

    def _is_refused(self, session: ReviewSession) -> bool:
        if session.refusal:
            self._tell(session.refusal)
        return bool(session.refusal)

    # ---- the answer ----

    def _on_found(self, found: FoundCell) -> None:
        session = self._state.session
        if session is None or not self._is_on:
            return
        answer = found.answer
        if answer is None or not len(answer.sizes):
            if not self.is_shown:
                self._sketch.clear()
                why = f" {found.problem}" if found.problem else ""
                self._tell(f"No cell found here.{why} Drag a box around it, or draw it: M.")
                show_warning(self.hint)  # the pointer writes over the status bar
            return
        if self._is_resized:
            return
        self._sizes, self._size = answer.sizes, answer.first
        self._way = f"{answer.way.value}{f' ({found.problem})' if found.problem else ''}"
        if not self._is_class_chosen:
            self._class_id = self._class_of(answer)
        self._show()

    def _class_of(self, answer: CellAnswer) -> int:
        """Return the class that the model gives, else that of the active layer."""
        if answer.classes is not None:
            try:
                match = match_classes(answer.classes, self._state.classes)
                return match[int(answer.sizes.class_ids[answer.first])]
            except ConfigError:
                pass
        active = self._state.viewer.layers.selection.active
        return active.class_id if isinstance(active, CellsLayer) else 1

    def _show(self) -> None:
        sizes, session = self._sizes, self._state.session
        if sizes is None or session is None:
            return
        x0, y0, x1, y1 = sizes.boxes[self._size].tolist()
        part = free_part(session, (x0, y0, x1, y1), sizes.masks[self._size])
        (x0, y0, *_), mask = part.placed or ((x0, y0, x1, y1), sizes.masks[self._size])
        ring = max(outlines(mask, x0, y0), key=signed_area).astype(float) - 0.5
        self._sketch.outline([(y, x) for x, y in ring.tolist()], session.classes.colour(self._class_id))
        camera_of(self._state.viewer).mouse_zoom = False  # the wheel resizes
        name = session.classes.name(self._class_id)
        size = f"size {self._size + 1} of {len(sizes)}, " if len(sizes) > 1 else ""
        clipped = left_out_text(part)
        self._tell(
            f"New cell: {name}, {size}{int(mask.sum())} px, from {self._way}.{f' {clipped}.' if clipped else ''} "
            "A adds it, wheel or [ ] resizes, 1..9 class, Esc drops it."
        )

    def _tell(self, text: str) -> None:
        self._state.viewer.status = text
        self.hint = text if self._is_on else ""
        self.changed.emit()

    def _on_tool(self) -> None:
        if not self._is_on:
            self.drop()
            self.hint = ""
            self.changed.emit()

    def _on_selection(self) -> None:
        if self._state.selection and self.is_shown:
            self.drop()

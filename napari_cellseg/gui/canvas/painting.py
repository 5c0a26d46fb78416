"""A stroke of brush, fill, polygon or eraser on a class layer becomes one command of the session."""

from __future__ import annotations

from napari.utils.notifications import show_warning

from napari_cellseg.errors import AnnotationError
from napari_cellseg.gui.canvas.cells_layer import CellsLayer
from napari_cellseg.review import Box, Change, ChangeKind, ReviewSession
from napari_cellseg.review.cells import overlap, union_box

__all__ = ["brush_aim", "brush_target", "take_over"]

_NEAR_PX = 10


def take_over(session: ReviewSession, layer: CellsLayer, box: Box) -> Change:
    """Compare a box of a layer with the session's view of it and make the difference one `paint` command.

    Painting with the id of a cell makes that cell larger, as long as the stroke comes near it; far from it, it draws a
    new cell, since cells in two pieces are not what people mean. Afterwards the layer shows the session again there: a
    new cell has got its id, and a stroke that changed no cell has left no pixel.
    """
    box = _with_painted_cell(session, layer, box)
    x0, y0, x1, y1 = box
    after = layer.data[y0:y1, x0:x1].copy()
    try:
        change = session.paint(layer.class_id, box, session.view(layer.class_id, box), after)
    except AnnotationError as error:  # the folder was locked by another viewer a moment ago
        show_warning(str(error))
        change = Change(text="", kind=ChangeKind.DO)
    layer.rewrite(box, session.view(layer.class_id, box))
    return change


def _with_painted_cell(session: ReviewSession, layer: CellsLayer, box: Box) -> Box:
    """Return the box of a stroke, with that of the cell it painted when it is near."""
    target = brush_target(session, layer.class_id, int(layer.selected_label))
    if target is None:
        return box
    cell_box = session.cells[target].box
    x0, y0, x1, y1 = box
    if overlap(cell_box, (x0 - _NEAR_PX, y0 - _NEAR_PX, x1 + _NEAR_PX, y1 + _NEAR_PX)) is None:
        return box
    return union_box((box, cell_box))


def brush_target(session: ReviewSession, class_id: int, value: int) -> int | None:
    """Return the cell that painting with a value would change; None when it would draw a new one."""
    cell = session.cells.get(value)
    return value if cell is not None and cell.class_id == class_id and session.is_visible(cell) else None


def brush_aim(session: ReviewSession, class_id: int, selection: tuple[int, ...]) -> int:
    """Return the value to paint with: the selected cell of a class, or else that of a new cell."""
    mine = (i for i in selection if brush_target(session, class_id, i) is not None)
    return next(mine, session.next_id)

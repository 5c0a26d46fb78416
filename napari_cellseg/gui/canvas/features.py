"""The table of features that a class layer carries: napari shows the row of the cell under the pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.review import Cell, ReviewSession

__all__ = ["ShownCells", "cell_features", "cell_line", "selection_line"]


class ShownCells(Protocol):
    """Cells to show: a `ReviewSession`, or some cells of a slide."""

    @property
    def cells(self) -> Mapping[int, Cell]:
        """By cell_id."""

    @property
    def classes(self) -> ClassTable:
        """Their classes."""

    def is_visible(self, cell: Cell) -> bool:
        """Return whether a cell is shown."""


def cell_features(session: ReviewSession, class_id: int) -> dict[str, npt.NDArray[Any]]:
    """Return one row for each cell shown of a class, by id.

    Columns ``index`` (napari's key: the value in the layer), ``cell_id``, ``class``, ``score`` (0..1), ``area`` (px)
    and ``status``.
    """
    cells = session.near(class_id)
    ids = np.array([cell.cell_id for cell in cells], np.int64)
    return {
        "index": ids,
        "cell_id": ids,
        "class": np.array([session.classes.name(class_id)] * len(cells), object),
        "score": np.array([cell.score for cell in cells], np.float32).round(3),
        "area": np.array([cell.area for cell in cells], np.int64),
        "status": np.array([cell.status.value for cell in cells], object),
    }


def cell_line(session: ShownCells, cell_id: int, pixel_size_um: float | None = None) -> str:
    """Say what a cell is, in one line for the status bar; empty for a cell that is gone."""
    cell = session.cells.get(cell_id)
    if cell is None:
        return ""
    area = f"{cell.area} px"
    if pixel_size_um is not None:
        area += f" ({cell.area * pixel_size_um**2:.1f} µm²)"
    name = session.classes.name(cell.class_id)
    flags = f"{'  unsure' if cell.unsure else ''}{f'  {cell.note}' if cell.note else ''}"
    return f"#{cell.cell_id}  {name}  score {cell.score:.2f}  {area}  {cell.status.value}{flags}"


def selection_line(session: ReviewSession, cell_ids: Sequence[int], pixel_size_um: float | None = None) -> str:
    """Say what the selected cells are, in one line for the status bar."""
    if len(cell_ids) == 1:
        return cell_line(session, cell_ids[0], pixel_size_um)
    return f"{len(cell_ids)} cells selected, {sum(session.cells[i].area for i in cell_ids)} px"

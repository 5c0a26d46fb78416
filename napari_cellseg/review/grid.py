"""A spatial index of the cells of an image, by id, class and position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from napari_cellseg.review.cells import Box, Cell, overlap

__all__ = ["CellGrid"]

TILE = 64
"""Side of a grid square, px: about two cell diameters, so that a square holds few cells and a cell few squares."""


class CellGrid:
    """All cells of an image by id, and a grid that finds the cells of a class near a box."""

    def __init__(self) -> None:
        self._cells: dict[int, Cell] = {}
        self._squares: dict[tuple[int, int, int], set[int]] = {}
        self._by_class: dict[int, set[int]] = {}

    @property
    def cells(self) -> Mapping[int, Cell]:
        """Every cell by its id; a live, read-only view."""
        return MappingProxyType(self._cells)

    def put(self, cell: Cell) -> None:
        """Add a cell with a new id."""
        self._cells[cell.cell_id] = cell
        self._by_class.setdefault(cell.class_id, set()).add(cell.cell_id)
        for square in _squares(cell.class_id, cell.box):
            self._squares.setdefault(square, set()).add(cell.cell_id)

    def remove(self, cell_id: int) -> None:
        """Take a cell out."""
        cell = self._cells.pop(cell_id)
        self._by_class[cell.class_id].discard(cell_id)
        for square in _squares(cell.class_id, cell.box):
            members = self._squares[square]
            members.discard(cell_id)
            if not members:
                del self._squares[square]

    def replace(self, cell: Cell) -> None:
        """Replace the cell that has the same id; fast if neither class nor box changes."""
        old = self._cells[cell.cell_id]
        if old.class_id == cell.class_id and old.box == cell.box:
            self._cells[cell.cell_id] = cell
            return
        self.remove(cell.cell_id)
        self.put(cell)

    def of_class(self, class_id: int) -> Iterator[Cell]:
        """Iterate over the cells of a class, in no order."""
        return (self._cells[i] for i in self._by_class.get(class_id, ()))

    def near(self, class_id: int, box: Box) -> list[Cell]:
        """Return the cells of a class whose boxes share a pixel with ``box``, in no order."""
        members = self._by_class.get(class_id, set())
        squares = _squares(class_id, box)
        if len(squares) < len(members):  # otherwise a scan of all cells is faster
            members = set().union(*(self._squares.get(square, ()) for square in squares))
        return [cell for cell in map(self._cells.__getitem__, members) if overlap(cell.box, box) is not None]


def _squares(class_id: int, box: Box) -> list[tuple[int, int, int]]:
    x0, y0, x1, y1 = box
    rows = range(y0 // TILE, (y1 - 1) // TILE + 1)
    columns = range(x0 // TILE, (x1 - 1) // TILE + 1)
    return [(class_id, row, column) for row in rows for column in columns]

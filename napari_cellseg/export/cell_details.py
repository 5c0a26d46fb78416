"""What the review knows about a cell, for the formats that can carry text per cell."""

from __future__ import annotations

from napari_cellseg.review import Cell

__all__ = ["cell_details"]


def cell_details(cell: Cell) -> dict[str, str]:
    """Return the status of a cell and who made it; an entry without content is left out."""
    details = {"status": cell.status.value, "by": cell.by}
    return {name: text for name, text in details.items() if text}

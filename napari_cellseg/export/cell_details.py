"""What the review knows about a cell, for the formats that can carry text per cell."""

from __future__ import annotations

from napari_cellseg.review import About, Cell

__all__ = ["cell_details", "image_details", "region_details"]


def cell_details(cell: Cell) -> dict[str, str]:
    """Return the status of a cell, who made it, flag and note; an entry without content is left out."""
    details = {"status": cell.status.value, "by": cell.by, "unsure": "yes" if cell.unsure else "", "note": cell.note}
    return {name: text for name, text in details.items() if text}


def image_details(about: About) -> dict[str, str]:
    """Return the flag and note of an image; an entry without content is left out."""
    details = {"unsure": "yes" if about.unsure else "", "note": about.note}
    return {name: text for name, text in details.items() if text}


def region_details(about: About) -> dict[str, list[list[float]]]:
    """Return the region of interest as corners x, y along pixel edges, as in COCO; empty for the whole image."""
    return {"region": [[x + 0.5, y + 0.5] for y, x in about.region]} if about.region else {}

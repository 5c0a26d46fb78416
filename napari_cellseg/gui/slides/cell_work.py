"""The work of `SlideCells` in its threads: cells in view read and drawn, all cells counted. No Qt here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from napari_cellseg.formats.cell_reader import BoxCells, CellCounts, CellReader
from napari_cellseg.gui.slides.cell_pictures import CellPicture, draw_cells
from napari_cellseg.gui.slides.latest import IsStale
from napari_cellseg.gui.slides.looks import SlideLooks
from napari_cellseg.gui.slides.view import Box, View

__all__ = ["Changes", "Far", "Near", "count_some", "draw_view"]

Changes = Callable[[BoxCells], BoxCells]
"""Leaves out cells that are rejected or below the minimum score, and sets other classes; for a thread."""


@dataclass(frozen=True, eq=False)
class Near:
    """The cells of a view, drawn."""

    picture: CellPicture
    revision: int


@dataclass(frozen=True)
class Far:
    """Too many cells are in a view to draw them."""

    view: View
    revision: int


def draw_view(
    reader: CellReader,
    view: View,
    box: Box,
    size: tuple[int, int],
    revision: int,
    match: Mapping[int, int],
    shown: list[int],
    changes: Changes,
    looks: SlideLooks,
    most: int,
    _: IsStale,
) -> Near | Far:
    """Read and draw the cells of a box, px of the store, unless they are more than ``most``.

    ``size`` has the side of a pixel of the picture, px of the store, and the width of contours, px of the picture.
    """
    found = reader.in_box(box, most)
    if found is None:
        return Far(view, revision)
    found = changes(found)
    here = np.array([match.get(class_id, class_id) for class_id in found.class_ids.tolist()], np.int32)
    found = replace(found, class_ids=here)
    found = found.select(np.isin(found.class_ids, shown))
    return Near(draw_cells(found, box, *size, looks.hues, looks.of(found)), revision)


def count_some(
    reader: CellReader, counts: CellCounts, limits: Mapping[int, float], is_stale: IsStale
) -> tuple[CellCounts, bool]:
    """Count some cells; the first part is shown soon."""
    before = counts.last_id
    return counts, reader.count_on(counts, limits, lambda: is_stale() or counts.last_id - before >= 200_000)

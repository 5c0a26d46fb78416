"""`SlideLooks`: what the colours of the cells of a slide tell, as *Colour by* in *Review* sets it; for any thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_cellseg.export.slides import status_of
from napari_cellseg.formats.cell_decisions import Decision
from napari_cellseg.formats.cell_reader import BoxCells
from napari_cellseg.gui.canvas.colours import CELL_COLOURS, STATUS_COLOURS, ColourMode

__all__ = ["SlideLooks"]

_HUES = {
    ColourMode.CLASS: (),
    ColourMode.CELL: CELL_COLOURS,
    ColourMode.STATUS: tuple(STATUS_COLOURS.values()),
}


@dataclass(frozen=True, eq=False)
class SlideLooks:
    """The colour of each cell.

    Attributes
    ----------
    mode : ColourMode
    decisions : mapping of int to Decision
        By the id of the cell.
    """

    mode: ColourMode = ColourMode.CLASS
    decisions: Mapping[int, Decision] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def hues(self) -> tuple[str, ...]:
        """The colours ``#rrggbb`` of which each cell has one; none if it has the colour of its class."""
        return _HUES[self.mode]

    def of(self, cells: BoxCells) -> npt.NDArray[np.int32]:
        """Return which of `hues` each cell has, (N,); 0 without any."""
        if self.mode is ColourMode.CELL:
            return (cells.ids * 5 % len(CELL_COLOURS)).astype(np.int32)
        if self.mode is ColourMode.STATUS:
            number = {status: i for i, status in enumerate(STATUS_COLOURS)}
            statuses = [status_of(self.decisions.get(cell_id)) for cell_id in cells.ids.tolist()]
            return np.array([number[status] for status in statuses], np.int32)
        return np.zeros(len(cells), np.int32)

"""`CellCrops`: pieces of a slide around cells, for *Gallery*: read in a thread when they are first seen."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_cellseg.export.overlay import outlined, piece_around
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.images.slide_levels import SlideLevels
from napari_cellseg.review import Cell

__all__ = ["CellCrops", "read_crops"]

_AT_A_TIME = 16
_MOST_KEPT = 2000
"""Of about 5 kB each."""

Pixels = npt.NDArray[np.uint8]
Wanted = tuple[Cell, str]


class CellCrops(QObject):
    """Reads the crops that are asked for, the latest first.

    Parameters
    ----------
    state : AppState
    owner : QWidget
        The dock.
    """

    came = Signal(object)
    """The cell_ids of crops that were read."""

    def __init__(self, state: AppState, owner: QWidget) -> None:
        super().__init__(owner)
        self._state = state
        self.factor = 1.0
        """Side of a pixel of the masks, px of the slide."""
        self._kept: dict[int, tuple[Wanted, Pixels]] = {}
        self._wanted: dict[int, Wanted] = {}
        self._job = Job(state, "reading thumbnails")
        self._job.end_with(owner, show_error)
        self._job.finished.connect(self._on_read)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._read)

    def forget(self) -> None:
        """Forget the crops: another slide is on the canvas."""
        self._job.stop()
        self._kept, self._wanted = {}, {}

    def of(self, cell: Cell, colour: str) -> Pixels | None:
        """Return the crop around a cell with its outline, (S, S, 3); None if it is still to be read."""
        kept = self._kept.get(cell.cell_id)
        if kept is not None and kept[0][1] == colour and kept[0][0].box == cell.box:
            return kept[1]
        self._wanted[cell.cell_id] = cell, colour
        self._soon.start(0)
        return None

    def _read(self) -> None:
        slide = self._state.slide
        if slide is None or not self._wanted or self._job.is_busy:
            return
        some = [self._wanted.popitem()[1] for _ in range(min(_AT_A_TIME, len(self._wanted)))]
        self._job.start(partial(read_crops, slide.levels, some, self.factor))

    def _on_read(self, crops: Sequence[tuple[Wanted, Pixels]]) -> None:
        for wanted, crop in crops:
            self._kept[wanted[0].cell_id] = wanted, crop
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self.came.emit([wanted[0].cell_id for wanted, _ in crops])
        self._soon.start(0)


def read_crops(
    levels: SlideLevels, wanted: Sequence[Wanted], factor: float
) -> Generator[None, None, list[tuple[Wanted, Pixels]]]:
    """Return the square crop around each cell with its outline in a colour, (S, S, 3) uint8; for a worker."""
    found = []
    for cell, colour in wanted:
        yield
        box = tuple(round(value * factor) for value in piece_around(cell))
        picture = levels.picture((box[0], box[1], box[2], box[3]), factor)
        if picture is not None:
            left, top = round(picture.box[0] / factor), round(picture.box[1] / factor)
            x0, y0, x1, y1 = cell.box
            here = replace(cell, box=(x0 - left, y0 - top, x1 - left, y1 - top))
            found.append(((cell, colour), outlined(picture.rgb, here, colour)))
    return found

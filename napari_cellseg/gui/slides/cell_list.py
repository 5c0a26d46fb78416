"""`SlideList`: the cells in view of a slide, or of its region, for *Table* and *Gallery*: read in a thread."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget
from skimage.measure import points_in_poly

from napari_cellseg.classes import ClassTable
from napari_cellseg.export.slides import status_of
from napari_cellseg.formats.cell_decisions import Decision
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.slides.cell_work import Changes
from napari_cellseg.gui.slides.slide_review import SlideReview
from napari_cellseg.gui.slides.slide_view import SlideView
from napari_cellseg.gui.slides.view import Box
from napari_cellseg.gui.slides.words import LISTED_IN_REGION, LISTED_IN_VIEW, MOST_LISTED, NO_CELLS, TOO_MANY_LISTED
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.notify import show_error
from napari_cellseg.review import Cell
from napari_cellseg.review.region import Region

__all__ = ["ListedCells", "SlideList", "list_cells"]

_REST_MS = 250
"""The view, or the decisions, must rest so long before the cells are listed again."""


@dataclass(frozen=True, eq=False)
class ListedCells:
    """Some cells of a slide; as `ShownCells`."""

    cells: Mapping[int, Cell]
    classes: ClassTable

    def is_visible(self, _: Cell) -> bool:
        """Return True: what is hidden is not listed."""
        return True


class SlideList(QObject):
    """Lists the cells while its dock is visible.

    A move of the view lists others; one that shows the selected cell does not, so that a row can be clicked.

    Parameters
    ----------
    state : AppState
    slides : SlideView
    review : SlideReview
    owner : QWidget
        The dock.
    """

    changed = Signal()

    def __init__(self, state: AppState, slides: SlideView, review: SlideReview, owner: QWidget) -> None:
        super().__init__(owner)
        self._state, self._slides, self._review, self._owner = state, slides, review, owner
        self.cells: Mapping[int, Cell] = {}
        self.text = ""
        """Which cells are listed, or why none is."""
        self._listed: tuple[Any, ...] | None = None
        self._box: Box | None = None
        self._selected: Any = None
        self._job = Job(state, "listing cells")
        self._job.end_with(owner, show_error)
        self._job.finished.connect(self._on_listed)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_REST_MS)
        self._later.timeout.connect(self._list)
        slides.looked.connect(self._on_look)
        slides.cells_changed.connect(self.refresh)
        state.classes_changed.connect(self.refresh)
        state.slide_region_changed.connect(self.refresh)
        state.current_changed.connect(self._on_current)

    def refresh(self) -> None:
        """List the cells soon, if they are others."""
        if self._state.slide is not None and self._owner.isVisible():
            self._later.start()

    def go_to(self, cell_id: int) -> None:
        """Select a cell, and show it."""
        self._review.go_to(cell_id)

    @property
    def shown(self) -> ListedCells:
        """The cells with the classes of the project."""
        return ListedCells(self.cells, self._state.classes)

    @property
    def factor(self) -> float:
        """Side of a pixel of the cells, px of the slide."""
        return self._slides.cells.factor

    def _on_current(self) -> None:
        self._job.stop()
        self._later.stop()
        self.cells, self.text, self._listed, self._box = {}, "", None, None
        self.changed.emit()
        self.refresh()

    def _on_look(self) -> None:
        view, selected = self._slides.view, self._review.selected
        if view is not None and (selected is self._selected or self._box is None):
            self._box = view.box
        self._selected = selected
        self.refresh()

    def _list(self) -> None:
        shown, view, region = self._slides.cells, self._slides.view, self._state.slide_region
        if view is None:
            return
        if shown.path is None:
            self.cells, self._listed, self.text = {}, None, NO_CELLS
            self.changed.emit()
            return
        box = self._box = self._box or view.box
        wanted = shown.path, shown.revision, region, () if region else box
        if wanted == self._listed:
            return
        self._listed = wanted
        factor = shown.factor
        corners = tuple((y / factor, x / factor) for y, x in region)
        there = tuple(int(value / factor) for value in box) if not corners else _bounds(corners)
        match, changes, decisions = dict(shown.match), shown.changes(), shown.decided()
        self._job.start(partial(list_cells, shown.path, there, corners, match, changes, decisions))

    def _on_listed(self, cells: dict[int, Cell] | None) -> None:
        if self._state.slide is None:
            return
        self.cells = {} if cells is None else cells
        has_region = bool(self._state.slide_region)
        self.text = TOO_MANY_LISTED if cells is None else LISTED_IN_REGION if has_region else LISTED_IN_VIEW
        self.changed.emit()

    @property
    def place(self) -> tuple[Any, ...]:
        """What tells the listed part of the slide from another; the decisions about its cells do not."""
        return () if self._listed is None else (self._listed[0], *self._listed[2:])


def list_cells(
    path: Path,
    box: tuple[int, ...],
    region: Region,
    match: Mapping[int, int],
    changes: Changes,
    decisions: Mapping[int, Decision],
) -> Generator[None, None, dict[int, Cell] | None]:
    """Return the cells that are shown in a box, and with their middle in a region, px of the store; None if too many.

    For a worker: it reads by a connection of its own.
    """
    yield
    x0, y0, x1, y1 = box
    with CellReader(path) as reader:
        found = reader.in_box((x0, y0, x1, y1), MOST_LISTED)
        size = reader.image_size
    if found is None:
        return None
    found = changes(found)
    if region:
        middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - 0.5
        found = found.select(np.asarray(points_in_poly(middles[:, ::-1], region), bool))
    yield
    masks = found.instances(size).masks
    about = zip(found.ids.tolist(), found.class_ids.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return {
        cell_id: Cell(
            cell_id=cell_id,
            class_id=match.get(class_id, class_id),
            score=score,
            status=status_of(decisions.get(cell_id)),
            box=tuple(place),
            mask=mask,
        )
        for (cell_id, class_id, score, place), mask in zip(about, masks, strict=True)
    }


def _bounds(corners: Region) -> tuple[int, int, int, int]:
    (y0, x0), (y1, x1) = np.floor(np.min(corners, 0)), np.ceil(np.max(corners, 0)) + 1
    return int(x0), int(y0), int(x1), int(y1)

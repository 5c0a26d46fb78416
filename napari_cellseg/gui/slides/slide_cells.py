"""`SlideCells`: the cells of a slide on the canvas, outlines of those in view when near, their density from afar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CellSegError
from napari_cellseg.formats.cell_decisions import Decision, apply_decisions
from napari_cellseg.formats.cell_reader import CellCounts, CellReader
from napari_cellseg.gui.canvas.colours import ColourMode
from napari_cellseg.gui.canvas.layer_rows import rename
from napari_cellseg.gui.preferences import preferences
from napari_cellseg.gui.slides.cell_pictures import CellPicture, density_picture, fill_colours
from napari_cellseg.gui.slides.cell_work import Changes, Far, Near, count_some, draw_view
from napari_cellseg.gui.slides.latest import LatestThread
from napari_cellseg.gui.slides.looks import SlideLooks
from napari_cellseg.gui.slides.open_file import OpenCells
from napari_cellseg.gui.slides.own_rows import add_image_layer, draw_never, place_pixels
from napari_cellseg.gui.slides.view import Box, View

__all__ = ["MOST_DRAWN", "SlideCells"]

MOST_DRAWN = 10_000
"""Most cells whose outlines are drawn: a second of drawing in a thread. With more in view, their density is shown."""
_GRID_SIDES, _LEAST_SIDE = 512, 64
"""Most squares of the density along the longest side of a slide, and their least side, px."""
_NOTHING = np.zeros((1, 1, 4), np.uint8)
_CELLS, _DENSITY = 0, -1  # next to the class_ids, in the order of layers to bring
_SPECK = 1e-3
"""Scale of the pixel of a class layer: too small to be seen."""


class SlideCells:
    """One layer with the cells in view, one with the density, and one per class to hide it or make it transparent.

    Drawing a layer that covers the canvas takes a renderer without a graphics card 10 ms; so one layer shows all
    classes, and those of the classes are rows of the layer list. None is taken away, see `ClassLayers`.

    Parameters
    ----------
    viewer : napari viewer
    tell : callable
        Gets what cannot be shown, in words.
    """

    def __init__(self, viewer: Any, tell: Callable[[str], object]) -> None:
        self._viewer, self._tell = viewer, tell
        self._cells: Any = None
        self._density: Any = None
        self._switches: dict[int, Any] = {}
        self._thread: LatestThread | None = None
        self._counting: LatestThread | None = None
        self._file: OpenCells | None = None
        self._classes = ClassTable.numbered(1)
        self._min_scores: Mapping[int, float] = {}
        self._limits: Mapping[int, float] = {}
        self._near: CellPicture | None = None
        self._is_far = False
        self._revision = 0
        self._asked: tuple[Any, ...] | None = None
        self._counts: CellCounts | None = None
        self._is_counted = False
        self._is_hidden = self._outlines_only = False
        self._colour_mode, self._has_contours = ColourMode.CLASS, True
        self.look_again: Callable[[], object] = _nothing
        """Is called when the view must be drawn again."""
        self.changes: Callable[[], Changes] = self._without_low
        """Returns what the thread applies to the cells of a view."""
        self.decided: Callable[[], Mapping[int, Decision]] = dict
        """Returns the decisions by the id of the cell."""
        self.changed_counts: Callable[[npt.NDArray[np.int32], int], npt.NDArray[np.int32]] = _as_counted
        """Applies decisions to the counts of a grid by class of the file, given the side of its squares."""

    # ---- one store ----

    @property
    def path(self) -> Path | None:
        """The file of the cells; None if no cells are shown."""
        return None if self._file is None else self._file.path

    @property
    def file(self) -> OpenCells | None:
        """The open file of the cells."""
        return self._file

    @property
    def reader(self) -> CellReader | None:
        """A connection for the window's thread."""
        return None if self._file is None else self._file.readers[0]

    @property
    def factor(self) -> float:
        """Side of a pixel of the store, px of the slide."""
        return 1.0 if self._file is None else self._file.factor

    @property
    def limits(self) -> Mapping[int, float]:
        """The minimum scores by class_id of the store."""
        return self._limits

    @property
    def match(self) -> Mapping[int, int]:
        """The class_id here of each class_id of the store."""
        return {} if self._file is None else self._file.match

    def show(self, file: OpenCells, classes: ClassTable, limits: Mapping[int, float]) -> None:
        """Show the cells of a file that matches ``classes``, in place of those before; `close` closes it."""
        self.close()
        self._file = file
        self._thread, self._counting = LatestThread("slide cells"), LatestThread("slide counts")
        self._near, self._is_far, self._asked = None, False, None
        self.use_classes(classes, {})
        self.use_limits(limits)

    def close(self) -> None:
        """Hide the layers, and close the file."""
        for thread in (self._thread, self._counting):
            if thread is not None:
                thread.close()
        if self._file is not None:
            self._file.close()
        self._thread = self._counting = self._near = self._counts = self._file = None
        self._is_counted = False
        for layer in (self._cells, self._density):
            if layer is not None:
                layer.visible = False
                place_pixels(layer, _NOTHING, (0, 0), 1)
        for class_id, switch in self._switches.items():
            rename(self._viewer, switch, f"class {class_id} (not in use)", is_listed=False)

    @property
    def is_bringing(self) -> bool:
        """Return whether layers are still to come."""
        return self._file is not None and self._next_row() is not None

    def bring_one(self) -> None:
        """Bring the next layer that is missing: napari takes its time for each, so each comes in a turn of its own."""
        row = None if self._file is None else self._next_row()
        if row is None:
            return
        if row == _CELLS:
            self._cells = add_image_layer(self._viewer, "slide cells", _NOTHING, is_listed=False)
            self._recolour()
        elif row == _DENSITY:
            self._density = add_image_layer(self._viewer, "slide density", _NOTHING, is_listed=False)
            self._density.interpolation2d = "linear"
            self.show_density()
        else:
            switch = add_image_layer(self._viewer, self._classes.name(row), _NOTHING)
            draw_never(self._viewer, switch)
            self._switches[row] = switch
            switch.events.visible.connect(self._on_visible)
            switch.events.opacity.connect(self._recolour)
            self._show_class(row)
        self._show_layers()

    def _next_row(self) -> int | None:
        layers = self._viewer.layers
        if self._cells is None or self._cells not in layers:
            return _CELLS
        if self._density is None or self._density not in layers:
            return _DENSITY
        return next((i for i in self._classes.class_ids if self._switches.get(i) not in layers), None)

    def _show_class(self, class_id: int) -> None:
        """Give the row of a class its name and colour."""
        switch = self._switches[class_id]
        colour = [round(255 * value) for value in self._classes.rgb(class_id)]
        switch.data, switch.scale = np.array([[[*colour, 255]]], np.uint8), (_SPECK, _SPECK)
        rename(self._viewer, switch, self._classes.name(class_id), is_listed=True)

    # ---- how they are shown ----

    def use_classes(self, classes: ClassTable, names: Mapping[str, str]) -> None:
        """Show the classes with these names and colours; ``names`` as in `OpenCells.match_to`.

        Raises
        ------
        ConfigError
            A class of the cells is not among them.
        """
        if self._file is None:
            self._classes = classes
            return
        is_other = self._file.match_to(classes, names)
        self._classes = classes
        for class_id in classes.class_ids:
            if class_id in self._switches:
                self._show_class(class_id)
        for class_id in self._switches.keys() - set(classes.class_ids):
            rename(self._viewer, self._switches[class_id], f"class {class_id} (not in use)", is_listed=False)
        self._recolour()
        if is_other:
            self.use_limits(self._min_scores)

    def use_limits(self, limits: Mapping[int, float]) -> None:
        """Show the cells at or above these minimum scores, by class_id here; counts them again."""
        self._min_scores = limits
        self._limits = {there: limits.get(here, 0.0) for there, here in self.match.items()}
        if self._file is not None:
            height, width = self._file.readers[0].image_size
            side = max(_LEAST_SIDE, -(-max(height, width) // _GRID_SIDES))
            self._counts, self._is_counted = (
                CellCounts((height, width), side, max(len(self._classes), *self.match)),
                False,
            )
            self._count_on()
            self.refresh()

    def _without_low(self) -> Changes:
        """Return what leaves out the cells below the minimum scores."""
        return partial(apply_decisions, decisions={}, limits=dict(self._limits))

    def refresh(self) -> None:
        """Draw the view again: the cells, or decisions about them, are others."""
        self._revision += 1
        self._asked = None
        self.look_again()

    def grow(self) -> None:
        """Show cells that were added to the file."""
        self.refresh()
        if self._is_counted:
            self._is_counted = False
            self._count_on()

    def show_as(self, is_hidden: bool, outlines_only: bool) -> None:
        """Hide all cells for a moment, or show them again; leave out their fills, or fill them again."""
        if is_hidden != self._is_hidden:
            self._is_hidden = is_hidden
            self._show_layers()
        if outlines_only != self._outlines_only:
            self._outlines_only = outlines_only
            self._recolour()

    @property
    def colour_mode(self) -> ColourMode:
        """What the colours of the cells tell; the density is always by class."""
        return self._colour_mode

    @colour_mode.setter
    def colour_mode(self, mode: ColourMode) -> None:
        self._colour_mode = mode
        self.refresh()

    @property
    def contour(self) -> int:
        """Whether the cells have contours: 1, or 0."""
        return int(self._has_contours)

    @contour.setter
    def contour(self, width: int) -> None:
        self._has_contours = bool(width)
        self.refresh()

    @property
    def shown_classes(self) -> list[int]:
        """The class_ids whose layers are visible."""
        return [i for i in self._classes.class_ids if i not in self._switches or self._switches[i].visible]

    @property
    def totals(self) -> dict[int, int] | None:
        """The number of predicted cells by class_id, as the minimum scores show them; None until all are counted."""
        if self._counts is None or self._file is None or not self._is_counted:
            return None
        return dict(enumerate(self._file.counts_here(self._counts.counts, self._classes).sum((1, 2)).tolist(), 1))

    @property
    def revision(self) -> int:
        """Another number after each change of the cells, of the decisions about them, or of what is shown."""
        return self._revision

    @property
    def is_far(self) -> bool:
        """Whether the density is shown."""
        return self._is_far

    # ---- the view ----

    @property
    def is_up_to_date(self) -> bool:
        """Return whether nothing is drawn or counted."""
        is_drawn = self._thread is None or self._thread.is_idle
        return is_drawn and not self.is_bringing and (self._counting is None or self._counting.is_idle)

    def look(self, view: View) -> None:
        """Show the cells of a view, now or as soon as they are drawn."""
        thread, file = self._thread, self._file
        if thread is None or file is None or view.is_empty:
            return
        near, wanted = self._near, self._size_for(view)
        if self._asked == ("near", self._revision) and near is not None and (near.factor, near.contour) == wanted:
            x0, y0, x1, y1 = (value * self.factor for value in near.box)
            if not self._is_far and view.is_in((x0, y0, x1, y1)):
                return
        if self._asked == (view, self._revision):
            return
        self._asked = view, self._revision
        box, reader = self._box_of(view), file.readers[1]
        shown, match, looks = self.shown_classes, file.match, SlideLooks(self._colour_mode, self.decided())
        how = self._revision, match, shown, self.changes(), looks, MOST_DRAWN
        thread.ask(partial(draw_view, reader, view, box, wanted, *how))

    def _size_for(self, view: View) -> tuple[int, int]:
        """Return the side of a pixel of the picture, px of the store, and the width of contours, seen on the screen."""
        factor = max(1, round(view.factor / self.factor))
        return factor, self.contour * (1 if factor * self.factor * view.zoom > 0.99 else 2)

    def _box_of(self, view: View) -> Box:
        x0, y0, x1, y1 = view.wide
        factor = self.factor
        return int(x0 / factor), int(y0 / factor), int(np.ceil(x1 / factor)), int(np.ceil(y1 / factor))

    def take(self) -> bool:
        """Show what was drawn and counted since; return whether the counts are others."""
        answer = None if self._thread is None else self._thread.answer()
        if isinstance(answer, CellSegError):
            self._tell(str(answer))
        elif isinstance(answer, Far):
            was_far, self._is_far = self._is_far, True
            if not was_far:
                self.show_density()
            self._show_layers()
        elif isinstance(answer, Near):
            self._near, self._is_far = answer.picture, False
            if answer.revision == self._revision:
                self._asked = "near", self._revision
            self._recolour()
            self._show_layers()
        return self._take_counts()

    def _take_counts(self) -> bool:
        counted = None if self._counting is None else self._counting.answer()
        if isinstance(counted, CellSegError):
            self._tell(str(counted))
        elif isinstance(counted, tuple) and counted[0] is self._counts:
            self._is_counted = counted[1]
            self.show_density()
            if not self._is_counted:
                self._count_on()
            return True
        return False

    def _count_on(self) -> None:
        counts, limits = self._counts, self._limits
        if self._counting is not None and counts is not None and self._file is not None:
            self._counting.ask(partial(count_some, self._file.readers[2], counts, dict(limits)))

    # ---- layers ----

    def show_density(self) -> None:
        """Draw the density again; not before it is seen."""
        if self._counts is not None and self._file is not None and self._density is not None and self._is_far:
            there = self.changed_counts(self._counts.counts, self._counts.side)
            counts = self._file.counts_here(there, self._classes)
            pixels = density_picture(counts, self._classes, self.shown_classes, self._opacities())
            place_pixels(self._density, pixels, (0, 0), self._counts.side * self.factor)

    def _opacities(self) -> dict[int, float]:
        return {i: float(each.opacity) if each.visible else 0.0 for i, each in self._switches.items()}

    def _recolour(self, _: Any = None) -> None:
        near = self._near
        if near is not None and self._cells is not None:
            fill = 0.0 if self._outlines_only else preferences().fill_opacity
            colours = fill_colours(self._classes, fill, self._opacities(), near.hues)
            corner = near.corner[0] * self.factor, near.corner[1] * self.factor
            place_pixels(
                self._cells, np.take(colours, near.codes, axis=0, mode="clip"), corner, near.factor * self.factor
            )
        self.show_density()

    def _on_visible(self, _: Any = None) -> None:
        self._recolour()
        self.refresh()

    def _show_layers(self) -> None:
        if self._file is None:
            return
        for layer, wanted in (
            (self._cells, not self._is_far and not self._is_hidden),
            (self._density, self._is_far and not self._is_hidden),
        ):
            if layer is not None and layer.visible != wanted:
                layer.visible = wanted


def _nothing() -> None:
    """Look at nothing."""


def _as_counted(counts: npt.NDArray[np.int32], side: int) -> npt.NDArray[np.int32]:  # noqa: ARG001
    return counts

"""`SlideImage`: the image of a slide on the canvas, an overview of all of it and a picture of the part in view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.canvas.camera import fit_image, forget_extent
from napari_cellseg.gui.canvas.layer_rows import rename
from napari_cellseg.gui.slides.latest import IsStale, LatestThread
from napari_cellseg.gui.slides.own_rows import add_image_layer, place_pixels
from napari_cellseg.gui.slides.view import View
from napari_cellseg.images.slide_levels import SMALL_PX, Picture, SlideLevels

__all__ = ["SlideImage"]

_OVERVIEW_ROW = "slide overview"

_BAND_ROWS = 64
"""Rows of an overview that are read at a time where the file has none."""
_NO_LEVELS = (
    "This slide has no coarse resolution levels: all of it is read once for the overview, which appears from the top. "
    "Zoom in to see the tissue sooner, or save the slide as a pyramidal TIFF."
)

Pixels = npt.NDArray[np.uint8]
_NOTHING: Pixels = np.zeros((1, 1, 3), np.uint8)


class SlideImage:
    """Two image layers, kept when the slide is closed: see `ClassLayers` on why none is taken away.

    A thread reads the picture of the view; the overview lies below it, and is hidden while the picture covers the view.

    Parameters
    ----------
    viewer : napari viewer
    tell : callable
        Gets what cannot be read, in words.
    """

    def __init__(self, viewer: Any, tell: Callable[[str], object]) -> None:
        self._viewer, self._tell = viewer, tell
        self._overview: Any = None
        self._detail: Any = None
        self._levels: SlideLevels | None = None
        self._name = ""
        self._thread: LatestThread | None = None
        self._rows: _OverviewRows | None = None
        self._shown: Picture | None = None
        self._asked: tuple[Any, ...] | None = None
        self._told: set[str] = set()

    # ---- one slide ----

    def open(self, levels: SlideLevels, name: str) -> None:
        """Show a slide, which is closed by `close`."""
        self._levels = levels
        self._thread = LatestThread("slide image")
        self._shown, self._asked, self._told = None, None, set()
        self._name = name
        if self._overview is None or self._overview not in self._viewer.layers:
            self._overview = add_image_layer(
                self._viewer, _OVERVIEW_ROW, _NOTHING, place=0, is_listed=False, is_view=False
            )
        overview = levels.small
        if overview is None:
            self._rows = _OverviewRows(levels)
            place_pixels(self._overview, self._rows.pixels, (0, 0), self._rows.factor)
            self._tell(_NO_LEVELS)
        else:
            place_pixels(self._overview, overview.rgb, (0, 0), overview.factor)
        self._overview.visible = True
        forget_extent(self._overview)
        if self._detail is not None:
            self._show_detail()
        fit_image(self._viewer, levels.size)

    def _show_detail(self) -> None:
        """Bring the layer of the view, still empty; later than the overview, since each takes napari its time."""
        if self._detail is None or self._detail not in self._viewer.layers:
            self._detail = add_image_layer(self._viewer, self._name, _NOTHING, place=1)
        place_pixels(self._detail, _NOTHING, (0, 0), 1)
        rename(self._viewer, self._detail, self._name, is_listed=True)
        self._detail.visible = True
        forget_extent(self._detail)

    def close(self) -> None:
        """Hide the layers, and close the file."""
        for thread in (self._thread, self._rows):
            if thread is not None:
                thread.close()
        if self._levels is not None:
            self._levels.close()
            for layer in (self._overview, self._detail):
                if layer is not None:
                    layer.visible = False
                    place_pixels(layer, _NOTHING, (0, 0), 1)
                    forget_extent(layer)
            if self._detail is not None:
                rename(self._viewer, self._detail, "no slide", is_listed=False)
        self._thread = self._rows = self._levels = self._shown = None

    @property
    def layer(self) -> Any:
        """The layer that the user sees in the list; None before the first slide."""
        return self._detail

    # ---- the view ----

    @property
    def is_up_to_date(self) -> bool:
        """Return whether nothing is being read for the view."""
        return self._thread is None or self._thread.is_idle

    @property
    def is_reading_overview(self) -> bool:
        """Return whether the overview is incomplete."""
        return self._rows is not None and not self._rows.is_complete

    def look(self, view: View) -> None:
        """Show a view, now or as soon as it is read."""
        levels, thread = self._levels, self._thread
        if levels is None or thread is None or view.is_empty:
            return
        shown = self._shown
        if shown is not None and view.is_in(shown.box) and _is_fine(shown.factor, view.factor, levels):
            self._uncover(view)
            return
        wanted = view.wide, view.factor
        if wanted != self._asked:
            self._asked = wanted
            thread.ask(lambda is_stale: _read(levels, view, is_stale))
        self._uncover(view)

    def take(self, view: View) -> bool:
        """Show what was read since; return whether that brought a new layer."""
        is_new = False
        if self._rows is not None and self._rows.take():
            self._overview.refresh()
        answer = None if self._thread is None else self._thread.answer()
        if isinstance(answer, CellSegError):
            self._say(str(answer))
        elif isinstance(answer, Picture):
            self._shown = answer
            is_new = self._detail is None or self._detail not in self._viewer.layers
            if is_new:
                self._show_detail()
            place_pixels(self._detail, answer.rgb, (answer.box[0], answer.box[1]), answer.factor)
            for problem in answer.problems:
                self._say(problem)
            self._uncover(view)
        return is_new

    def _is_covered(self, view: View) -> bool:
        return self._shown is not None and view.is_in(self._shown.box)

    def _uncover(self, view: View) -> None:
        """Show the overview where the picture does not cover the view."""
        is_shown = self._detail is None or self._detail.visible
        if is_shown != self._overview.visible and not (is_shown and self._is_covered(view)):
            self._overview.visible = is_shown

    def rest(self, view: View) -> None:
        """Hide the overview below a picture that covers the view, as it takes as long to draw; once the view rests."""
        if self._overview is not None and self._overview.visible and self._is_covered(view):
            self._overview.visible = False

    def _say(self, text: str) -> None:
        if text not in self._told and len(self._told) < 3:  # a damaged disk has thousands
            self._told.add(text)
            self._tell(text)


class _OverviewRows:
    """An overview that is made from the finest level, some rows at a time."""

    def __init__(self, levels: SlideLevels) -> None:
        self._levels = levels
        self._step = -(-max(levels.size) // SMALL_PX)
        self.factor = float(self._step)
        height, width = levels.size
        self.pixels: Pixels = np.zeros((-(-height // self._step), -(-width // self._step), 3), np.uint8)
        self._next = 0
        self._thread = LatestThread("slide overview")
        self._ask()

    @property
    def is_complete(self) -> bool:
        """Return whether all rows are there."""
        return self._next >= len(self.pixels)

    def _ask(self) -> None:
        levels, step, top = self._levels, self._step, self._next * self._step
        box = 0, top, levels.size[1], min(top + _BAND_ROWS * step, levels.size[0])
        self._thread.ask(lambda is_stale: levels.picture(box, step, is_stale, most_px=2**40))

    def take(self) -> bool:
        """Add the rows that were read since; return whether there were any."""
        answer = self._thread.answer()
        if answer is None:
            return False
        if isinstance(answer, Picture):
            rows = self.pixels[self._next : self._next + len(answer.rgb)]
            rows[:] = answer.rgb[: len(rows), : rows.shape[1]]
        self._next += _BAND_ROWS
        if not self.is_complete:
            self._ask()
        return True

    def close(self) -> None:
        """Read no more."""
        self._thread.close()


def _is_fine(factor: float, wanted: float, levels: SlideLevels) -> bool:
    """Return whether a picture of some factor is neither too coarse for a view nor much finer than it."""
    best = max(wanted, levels.factors[0])
    return 0.4 * best <= factor <= 1.3 * best


def _read(levels: SlideLevels, view: View, is_stale: IsStale) -> Picture | None:
    return levels.picture(view.wide, view.factor, is_stale)

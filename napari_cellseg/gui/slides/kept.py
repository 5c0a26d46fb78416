"""`KeptSettings`: the region of the slide on the canvas and its names of classes, kept for the next start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.state import AppState
from napari_cellseg.review.region import Region
from napari_cellseg.workspace.slide_settings import SlideSettings, read_slide_settings, write_slide_settings

__all__ = ["KeptSettings"]


class KeptSettings:
    """Reads the settings of a slide when it is opened, and writes each change.

    Parameters
    ----------
    state : AppState
    tell : callable
        Gets why a change is kept only until the viewer is closed, in words.
    """

    def __init__(self, state: AppState, tell: Callable[[str], object]) -> None:
        self._state, self._tell = state, tell
        self._of: dict[Path, SlideSettings] = {}
        self._refused: dict[Path, str] = {}

    def read(self) -> None:
        """Use the settings of the slide on the canvas."""
        slide = self._state.slide
        if slide is None:
            return
        if slide.store not in self._of:
            try:
                self._of[slide.store], problem = read_slide_settings(slide.store)
            except CellSegError as error:
                self._of[slide.store], problem = SlideSettings(), str(error)
                self._refused[slide.store] = problem
            if problem:
                self._tell(f"{problem} The region of this slide and the names of its classes are not known.")
        factor = slide.levels.full_factor  # pixel centres are at whole numbers on the canvas, edges in the file
        corners = self._of[slide.store].region
        self._state.set_slide_region(
            tuple((round(y / factor - 0.5, 1), round(x / factor - 0.5, 1)) for y, x in corners)
        )

    @property
    def class_names(self) -> Mapping[str, str]:
        """The name here of each class, by its name in the file of the cells."""
        slide = self._state.slide
        return {} if slide is None or slide.store not in self._of else self._of[slide.store].class_names

    def note_region(self, region: Region) -> None:
        """Keep another region, px of the canvas."""
        slide = self._state.slide
        if slide is not None:
            factor = slide.levels.full_factor
            corners = tuple((round((y + 0.5) * factor, 1), round((x + 0.5) * factor, 1)) for y, x in region)
            self._change(slide.store, {"region": corners}, "The region is kept until the viewer is closed")

    def note_class_names(self, names: Mapping[str, str]) -> None:
        """Keep what classes of the file of the cells are called here; those with their own names need no note."""
        slide = self._state.slide
        known = dict(self.class_names)
        if slide is not None and any(known.get(there, there) != here for there, here in names.items()):
            what = "The names of the classes of this slide are known until the viewer is closed"
            self._change(slide.store, {"class_names": {**known, **names}}, what)

    def _change(self, store: Path, values: Mapping[str, object], otherwise: str) -> None:
        before = self._of.get(store, SlideSettings())
        after = before.model_copy(update=values)
        if after == before:
            return
        self._of[store] = after
        workspace = self._state.workspace
        refusal = self._refused.get(store) or ("" if workspace is None else workspace.read_only)
        try:
            if not refusal:
                write_slide_settings(store, after)
        except CellSegError as error:
            refusal = str(error)
        if refusal:
            self._tell(f"{otherwise}: {refusal}")

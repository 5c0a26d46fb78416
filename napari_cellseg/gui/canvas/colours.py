"""What colour a cell has on the canvas: by class, by cell or by status, with its contour, and white when selected."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.review import Cell, Status

__all__ = ["CELL_COLOURS", "FILL_OPACITY", "STATUS_COLOURS", "ColourMode", "Looks", "painted", "palette", "to_rgb"]

FILL_OPACITY = 0.4

STATUS_COLOURS: Mapping[Status, str] = {
    Status.PROPOSED: "#56b4e9",
    Status.GIVEN: "#cc79a7",
    Status.ACCEPTED: "#009e73",
    Status.EDITED: "#e69f00",
    Status.REJECTED: "#d55e00",
}
"""Colour-blind safe, after Okabe & Ito (2008)."""

# Okabe & Ito's colours, then each as far from the others as it can be with any colour vision; none near white.
CELL_COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00",
    "#cc79a7", "#8800ff", "#773311", "#554455", "#aadd88", "#4433aa",
)  # fmt: skip

# A displayed pixel is one byte: 0 nothing, 1..60 fill, 61..120 fill of a selected cell, 128..187 contour, 254 white.
_LOOKS, _CONTOUR, _SELECTED_CONTOUR = 60, 127, 254
_PALETTE_SIZE = 255  # one more and napari would show the layer with 16-bit textures
_SELECTED_WIDTH = 2


class ColourMode(Enum):
    """What the colour of a cell tells."""

    CLASS = "class"
    CELL = "cell"
    STATUS = "status"


class Looks:
    """Which palette entry each cell_id is filled with; one byte a cell, shared by all class layers.

    Attributes
    ----------
    fills : (M,) uint8
        By cell_id. The last entry is for every id from there on, such as one just being drawn.
    """

    def __init__(self) -> None:
        self.mode = ColourMode.CLASS
        self.fills: npt.NDArray[np.uint8] = np.array([0, 1], np.uint8)
        self._selected: frozenset[int] = frozenset()

    def reset(self, cells: Iterable[Cell]) -> None:
        """Begin again with the cells of another image, or after a change of ``mode``."""
        self.fills = np.array([0, 1], np.uint8)
        self.update(cells)

    def update(self, cells: Iterable[Cell]) -> None:
        """Look at cells again that changed or are new."""
        for cell in cells:
            if cell.cell_id >= len(self.fills) - 1:
                wider = np.ones(2 * cell.cell_id + 64, np.uint8)
                wider[: len(self.fills)] = self.fills
                self.fills = wider
            self.fills[cell.cell_id] = self._look(cell) + _LOOKS * (cell.cell_id in self._selected)

    def select(self, cell_ids: Collection[int], cells: Mapping[int, Cell]) -> tuple[int, ...]:
        """Outline other cells in white; returns the ids whose look changed."""
        changed = self._selected.symmetric_difference(cell_ids)
        self._selected = frozenset(cell_ids)
        self.update(cells[i] for i in changed if i in cells)
        return tuple(changed)

    def _look(self, cell: Cell) -> int:
        if self.mode is ColourMode.CELL:
            return 1 + cell.cell_id * 5 % len(CELL_COLOURS)
        if self.mode is ColourMode.STATUS:
            return 1 + list(STATUS_COLOURS).index(cell.status)
        return 1


def palette(mode: ColourMode, class_colour: str, fill_opacity: float = FILL_OPACITY) -> npt.NDArray[np.float32]:
    """Return the RGBA of every displayed byte of a class layer, (255, 4) float32."""
    hues = {
        ColourMode.CLASS: (class_colour,),
        ColourMode.CELL: CELL_COLOURS,
        ColourMode.STATUS: tuple(STATUS_COLOURS.values()),
    }[mode]
    colours = np.zeros((_PALETTE_SIZE, 4), np.float32)
    for i, hue in enumerate(hues, 1):
        colours[[i, i + _LOOKS, i + _CONTOUR], :3] = to_rgb(hue)
        colours[[i, i + _LOOKS], 3] = fill_opacity
        colours[i + _CONTOUR, 3] = 1
    colours[_SELECTED_CONTOUR] = 1
    return colours


def to_rgb(colour: str) -> tuple[float, float, float]:
    """Turn ``#rrggbb`` into red, green, blue in 0..1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def painted(
    labels: npt.NDArray[Any], fills: npt.NDArray[np.uint8], contour: int, part: tuple[slice, slice] | None = None
) -> npt.NDArray[np.uint8]:
    """Turn cell_ids into palette bytes: fill, contour inside each cell's edge, white contour of selected cells.

    Parameters
    ----------
    labels : (H, W) int
        cell_ids, 0 is background.
    fills : (M,) uint8
        As in `Looks`.
    contour : int
        Width, px; 0 for none.
    part : (rows, columns), optional
        Only this window; the pixels around it are read too, so that contours continue across its edge.
    """
    rows, columns = part or (slice(0, labels.shape[0]), slice(0, labels.shape[1]))
    reach = max(contour, _SELECTED_WIDTH)
    left, right = max(columns.start - reach, 0), min(columns.stop + reach, labels.shape[1])
    inner = slice(columns.start - left, columns.stop - left)
    shown = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    for top in range(rows.start, rows.stop, 64):  # strips stay in the CPU cache: twice as fast as one pass
        bottom = min(top + 64, rows.stop)
        first = max(top - reach, 0)
        wide = labels[first : min(bottom + reach, labels.shape[0]), left:right]
        window = slice(top - first, bottom - first), inner
        strip = np.take(fills, wide[window], mode="clip")
        shown[top - rows.start : bottom - rows.start] = strip
        if not strip.any():
            continue
        strip = shown[top - rows.start : bottom - rows.start]
        selected = strip > _LOOKS
        if contour:
            strip += (_edge(wide, contour)[window] & (strip > 0)).view(np.uint8) * np.uint8(_CONTOUR)
        if selected.any():
            strip[_edge(wide, max(contour, _SELECTED_WIDTH))[window] & selected] = _SELECTED_CONTOUR
    return shown


def _edge(labels: npt.NDArray[Any], width: int) -> npt.NDArray[np.bool_]:
    """Mark pixels with another value within ``width`` px above, below, left or right."""
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        differs = labels[step:] != labels[:-step]
        edge[step:] |= differs
        edge[:-step] |= differs
        differs = labels[:, step:] != labels[:, :-step]
        edge[:, step:] |= differs
        edge[:, :-step] |= differs
    return edge

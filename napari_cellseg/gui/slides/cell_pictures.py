"""Pictures of the cells of a slide: fills and contours of the cells in view, and the density of cells from afar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.cell_reader import BoxCells
from napari_cellseg.gui.canvas.colours import to_rgb

__all__ = ["CellPicture", "contour_of", "density_picture", "draw_cells", "fill_colours"]

_AT_A_TIME = 1500
"""Cells whose masks are unpacked together."""
_DENSEST_PERCENTILE, _DENSEST_ALPHA = 99.0, 0.8

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CellPicture:
    """Cells drawn at some resolution.

    Attributes
    ----------
    codes : (h, w) uint8 or uint16
        0 is nothing. With one colour per class, 2 k - 1 is the fill and 2 k the contour of class k; with n ``hues``,
        those of colour i of class k are 2 (n (k - 1) + i) + 1 and the next one.
    corner : (int, int)
        x and y of the first pixel, px of the store.
    factor : int
        Side of a pixel, px of the store.
    box : (x0, y0, x1, y1)
        All cells of this box are drawn, px of the store.
    contour : int
        Width of the contours, px of the picture.
    hues : tuple of str
        The colours ``#rrggbb`` of which each cell has one; none if it has the colour of its class.
    """

    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    corner: tuple[int, int]
    factor: int
    box: tuple[int, int, int, int]
    contour: int = 1
    hues: tuple[str, ...] = ()


def draw_cells(
    cells: BoxCells,
    box: tuple[int, int, int, int],
    factor: int,
    contour: int = 1,
    hues: tuple[str, ...] = (),
    chosen: npt.NDArray[np.int32] | None = None,
) -> CellPicture:
    """Draw the cells of a box.

    Parameters
    ----------
    cells : BoxCells
        Later ones, of a higher score, lie over earlier ones of their class; higher classes over lower ones.
    box : (x0, y0, x1, y1)
        px of the store.
    factor : int
        Side of a pixel of the picture, px of the store.
    contour : int
        Width of the contour, px of the picture; 0 for none.
    hues : tuple of str
        As in `CellPicture`.
    chosen : (N,) int32, optional
        Which of ``hues`` each cell has.
    """
    x0, y0 = box[0] // factor, box[1] // factor
    width, height = -(-box[2] // factor) - x0, -(-box[3] // factor) - y0
    count = max(1, len(hues))
    fills = 2 * count * (cells.class_ids - 1) + 1 + (0 if chosen is None else 2 * chosen)
    codes = np.zeros((height, width), np.uint8 if len(cells) == 0 or fills.max() < 255 else np.uint16)
    for class_id in np.unique(cells.class_ids).tolist():
        labels = np.zeros((height, width), np.int32)
        for numbers, y, x in _pixels(cells, np.flatnonzero(cells.class_ids == class_id)):
            y, x = y // factor - y0, x // factor - x0
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            labels[y[inside], x[inside]] = numbers[inside] + 1
        is_cell = labels > 0
        codes[is_cell] = fills[labels[is_cell] - 1]
        if contour:
            codes[_edge(labels, contour) & is_cell] += 1
    return CellPicture(codes, (x0 * factor, y0 * factor), factor, box, contour, hues)


def _pixels(
    cells: BoxCells, chosen: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    """Yield for some of the cells at a time, in their order, the number of the cell, y and x of each of its pixels."""
    for start in range(0, len(chosen), _AT_A_TIME):
        part = chosen[start : start + _AT_A_TIME]
        packed = b"".join([cells.masks[i] for i in part.tolist()])
        bits = np.unpackbits(np.frombuffer(packed, np.uint8))
        lengths = 8 * np.array([len(cells.masks[i]) for i in part.tolist()], np.int64)
        starts = np.cumsum(lengths) - lengths
        counts = np.add.reduceat(bits, starts, dtype=np.int64)
        place = np.flatnonzero(bits).astype(np.int32)
        x0, y0, x1, _ = cells.boxes[part].T
        which = np.repeat(np.arange(len(part), dtype=np.int32), counts)
        place -= starts.astype(np.int32)[which]
        row, column = np.divmod(place, (x1 - x0).astype(np.int32)[which])
        yield part.astype(np.int32)[which], row + y0[which], column + x0[which]


def _edge(labels: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.bool_]:
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


def contour_of(mask: npt.NDArray[np.bool_], width: int = 2) -> Pixels:
    """Return a white contour around a mask (h, w), as RGBA with a border of ``width`` px on each side."""
    wide = np.pad(mask, width).astype(np.int32)
    rgba = np.zeros((*wide.shape, 4), np.uint8)
    rgba[_edge(wide, width)] = 255
    return rgba


def fill_colours(classes: ClassTable, fill: float, opacity: Mapping[int, float], hues: Sequence[str] = ()) -> Pixels:
    """Return the RGBA of each code of a `CellPicture`, (2 K n + 1, 4).

    Parameters
    ----------
    classes : ClassTable
    fill : float
        Opacity of fills, 0..1.
    opacity : mapping of class_id to float
        Of a class, fill and contour alike; 1 for a class that is left out.
    hues : sequence of str
        As in `CellPicture`.
    """
    colours = [(0, 0, 0, 0)]
    for class_id in classes.class_ids:
        for red, green, blue in [to_rgb(hue) for hue in hues] or [classes.rgb(class_id)]:
            rgb = round(255 * red), round(255 * green), round(255 * blue)
            colours += [(*rgb, round(255 * alpha * opacity.get(class_id, 1.0))) for alpha in (fill, 1.0)]
    return np.array(colours, np.uint8)


def density_picture(
    counts: npt.NDArray[np.int32], classes: ClassTable, shown: Sequence[int], opacity: Mapping[int, float]
) -> Pixels:
    """Return the density of the cells of some classes, (h, w, 4): the colour is that of the mixture of classes.

    Parameters
    ----------
    counts : (K, h, w) int32
        Cells of each square; class 1 first.
    classes : ClassTable
    shown : sequence of int
        class_ids.
    opacity : mapping of class_id to float
    """
    chosen = [class_id for class_id in shown if class_id <= len(counts)]
    weights = np.array([opacity.get(class_id, 1.0) for class_id in chosen], np.float32)
    part = counts[[class_id - 1 for class_id in chosen]].astype(np.float32)
    total, weighted = part.sum(0), np.tensordot(weights, part, 1) if chosen else part.sum(0)
    rgba = np.zeros((*total.shape, 4), np.uint8)
    filled = total[total > 0]
    if not filled.size:
        return rgba
    hues = np.array([classes.rgb(class_id) for class_id in chosen], np.float32)
    mixed = np.tensordot(part, hues, ((0,), (0,))) / np.maximum(total, 1)[..., None]
    rgba[..., :3] = np.clip(255 * mixed, 0, 255)
    top = max(float(np.percentile(filled, _DENSEST_PERCENTILE)), 1.0)
    rgba[..., 3] = 255 * _DENSEST_ALPHA * np.sqrt(np.clip(weighted / top, 0, 1))
    return rgba

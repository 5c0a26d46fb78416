"""The image with the outlines of its cells in the colours of their classes, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.review import Cell

__all__ = ["OVERLAYS", "draw_overlay", "outlined", "piece_around", "write_overlay"]

_LEAST_PX = 24
"""Smallest piece of tissue that is shown, px of the image: a speck needs its surroundings."""


def draw_overlay(
    rgb: npt.NDArray[np.uint8], cells: Sequence[Cell], classes: ClassTable, width: int = 1
) -> npt.NDArray[np.uint8]:
    """Return a copy of an image, (H, W, 3) uint8, with a rim of ``width`` px painted inside each cell."""
    picture = rgb.copy()
    colours = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in classes.colours], np.uint8)
    for cell in sorted(cells, key=lambda cell: (cell.score, cell.cell_id)):
        x0, y0, x1, y1 = cell.box
        inner = ndimage.binary_erosion(np.pad(cell.mask, 1), iterations=width)[1:-1, 1:-1]
        picture[y0:y1, x0:x1][cell.mask & ~inner] = colours[cell.class_id - 1]
    return picture


def piece_around(cell: Cell) -> tuple[int, int, int, int]:
    """Return the square (x0, y0, x1, y1) around a cell that `outlined` shows, px; it may reach beyond the image."""
    x0, y0, x1, y1 = cell.box
    side = max(int(1.5 * max(x1 - x0, y1 - y0)) + 4, _LEAST_PX)
    left, top = (x0 + x1 - side) // 2, (y0 + y1 - side) // 2
    return left, top, left + side, top + side


def outlined(rgb: npt.NDArray[np.uint8], cell: Cell, colour: str) -> npt.NDArray[np.uint8]:
    """Return a square piece of an image around a cell, (S, S, 3) uint8, with its contour; black beyond the image."""
    x0, y0, x1, y1 = cell.box
    left, top, right, _ = piece_around(cell)
    side = right - left
    height, width = rgb.shape[:2]
    part = rgb[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    crop = np.zeros((side, side, 3), np.uint8)
    dy, dx = max(-top, 0), max(-left, 0)
    crop[dy : dy + part.shape[0], dx : dx + part.shape[1]] = part
    mask = np.zeros((side, side), bool)
    mask[y0 - top : y1 - top, x0 - left : x1 - left] = cell.mask
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    crop[mask & ~inner] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return crop


def write_overlay(path: Path, rgb: npt.NDArray[np.uint8], cells: Sequence[Cell], classes: ClassTable) -> None:
    """Write the PNG; lines are 2 px wide, or 1 px per 2000 px of a larger image.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    width = max(2, round(max(rgb.shape[:2]) / 2000))
    data = imagecodecs.png_encode(draw_overlay(rgb, cells, classes, width))
    with export_write(path) as file:
        file.write(data)


def _write(job: ExportJob, image: ExportImage) -> None:
    write_overlay(job.path("overlays", f"{image.name}.png"), image.image.rgb(), image.cells, job.classes)


OVERLAYS = Exporter(
    name="overlays",
    label="overlay images",
    tip="The images with the outlines of the cells, as PNG",
    per="image",
    write=_write,
    needs_pixels=True,
)

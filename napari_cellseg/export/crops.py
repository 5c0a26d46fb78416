"""Cuts regions of a slide out as training samples, each read with its reviewed cells and never the whole slide."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.export.crop_cells import Part, SlideCells
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.slide_levels import SLIDE_PX, SlideLevels, open_levels
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.region import LEAST_SIDE_PX, placed_region
from napari_cellseg.workspace.about_lines import REGION_NAME, region_bytes

__all__ = ["Crop", "write_crops"]

Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Crop:
    """A sample that was written.

    Attributes
    ----------
    folder : Path
    size : (int, int)
        Height and width, px.
    cells : int
    cut : int
        Cells of which a part lies outside the region; that part is left out.
    left_out : int
        Cells that were not reviewed.
    covered : int
        Cells of which no pixel is left, because smaller ones of their class lie on top.
    """

    folder: Path
    size: tuple[int, int]
    cells: int
    cut: int
    left_out: int
    covered: int


def write_crops(
    slide: Path, cells: SlideCells, polygons: Sequence[Sequence[Ring]], folder: Path, *, reading: ReadOptions
) -> Generator[Crop, None, None]:
    """Write ``<slide>_region<n>/image.tif`` and ``class<k>.tif`` of each region, and ``classes.json``.

    Yields after each region. All regions are checked before a file is written, and no file is replaced.

    Parameters
    ----------
    slide : Path
    cells : SlideCells
    polygons : sequence
        For each region an outline of x and y in px of level 0, and its holes, which are refused.
    folder : Path
        The training folder.
    reading : ReadOptions
        How to read the slide; what was not chosen is as for the cells.

    Raises
    ------
    ImageReadError
        The slide cannot be read.
    AnnotationError
        The cells are not of this slide, or a region lies outside it, is too small, too large, or not reviewed.
    ExportError
        A sample of this name exists, or a file cannot be written.
    """
    levels = open_levels(slide, reading.over(cells.reading))
    try:
        if cells.size not in levels.sizes:
            cells.check(levels, ())
        number = levels.sizes.index(cells.size)
        parts = _parts(polygons, slide, levels, number)
        cells.check(levels, parts)
        targets = [folder / part.name for part in parts]
        if there := next((target for target in targets if target.exists()), None):
            raise ExportError(f"{there} exists. Choose another --out, or move it away; nothing was written.")
        _write_classes(folder, cells.classes)
        for part, target in zip(parts, targets, strict=True):
            rgb, found = levels.read_region(number, part.box), cells.inside(part)
            _write_image(target, rgb, levels.pixel_size_of(number))
            if not part.mask.all():
                with export_write(target / REGION_NAME) as file:
                    file.write(region_bytes(part.corners))
            write_class_images(target, found.cells)
            yield Crop(target, part.size, len(found.cells), found.cut, found.left_out, _covered(found.cells))
    finally:
        levels.close()


def _parts(polygons: Sequence[Sequence[Ring]], slide: Path, levels: SlideLevels, number: int) -> list[Part]:
    height, width = levels.sizes[number]
    y_factor, x_factor = height / levels.size[0], width / levels.size[1]
    parts = []
    name = slide.with_suffix("").name
    for place, rings in enumerate(polygons, start=1):
        if len(rings) != 1:
            raise AnnotationError(f"Region {place} has a hole. Draw it as one outline, or as several regions.")
        xs, ys = np.array(rings[0], float).T
        corners = tuple(zip((ys * y_factor - 0.5).tolist(), (xs * x_factor - 0.5).tolist(), strict=True))
        sides = np.minimum(np.ptp(np.array(corners), axis=0), (height, width))
        if sides.prod() > SLIDE_PX:
            raise AnnotationError(
                f"Region {place} has {sides[0]:.0f} x {sides[1]:.0f} px; at most {SLIDE_PX / 2**20:.0f} Mpx can be in "
                "memory. Draw several smaller regions."
            )
        placed = placed_region(corners, (height, width))
        if placed is None:
            raise AnnotationError(
                f"Region {place} lies outside {slide.name}, which has {levels.size[1]} x {levels.size[0]} px (width x "
                "height) at level 0."
            )
        (x0, y0, x1, y1), mask = placed
        if min(mask.shape) < LEAST_SIDE_PX:
            raise AnnotationError(
                f"Region {place} has {mask.shape[0]} x {mask.shape[1]} px inside {slide.name}; at least "
                f"{LEAST_SIDE_PX} px per side are needed."
            )
        moved = tuple((y - y0, x - x0) for y, x in corners)
        parts.append(Part(f"{name}_region{place}", (x0, y0, x1, y1), mask, moved))
    return parts


def _write_image(folder: Path, rgb: npt.NDArray[np.uint8], um: float | None) -> None:
    per_cm = {"resolution": (1e4 / um, 1e4 / um), "resolutionunit": "CENTIMETER"} if um else {}
    with write_errors(folder):
        folder.mkdir(parents=True)
    with export_write(folder / "image.tif") as file:
        tifffile.imwrite(file, rgb, photometric="rgb", compression="zlib", metadata=None, **per_cm)


def _write_classes(folder: Path, classes: ClassTable) -> None:
    """Write ``classes.json``; one that is there must list the same classes."""
    path = folder / "classes.json"
    names = {str(class_id): name for class_id, name, _ in classes}
    if path.is_file():
        if (there := read_json(path)) != names:
            raise ExportError(
                f"{path} has other classes ({there}) than the cells ({names}). Choose another --out; nothing was "
                "written."
            )
        return
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with export_write(path) as file:
        file.write(json.dumps(names, ensure_ascii=False, indent=1).encode())


def _covered(cells: InstanceMasks) -> int:
    """Return how many cells have no pixel of their own in the label image of their class."""
    lost = 0
    for class_id in sorted(set(cells.class_ids.tolist())):
        each = cells.select(cells.class_ids == class_id)
        values = np.arange(1, len(each) + 1)
        lost += len(each) - len(np.setdiff1d(np.unique(each.paste_smallest_on_top(values)), [0]))
    return lost

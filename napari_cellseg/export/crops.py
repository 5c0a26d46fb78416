"""Cuts regions of a slide out as training samples, each read with its reviewed cells and never the whole slide."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.cell_decisions import apply_decisions, read_decisions
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.slide_levels import SLIDE_PX, SlideLevels, open_levels
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.region import LEAST_SIDE_PX, Region, placed_region
from napari_cellseg.wording import counted
from napari_cellseg.workspace.about_lines import REGION_NAME, region_bytes
from napari_cellseg.workspace.slide_cells import check_is_of

__all__ = ["Crop", "Unreviewed", "write_crops"]

Ring = tuple[tuple[float, float], ...]
Unreviewed = Literal["refuse", "keep", "leave-out"]
"""What happens to cells in a region about which no one decided."""


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


@dataclass(frozen=True, eq=False)
class _Part:
    """A region at the level of the cells: its name, bounding box, and (h, w) bool mask."""

    name: str
    box: tuple[int, int, int, int]
    mask: npt.NDArray[np.bool_]
    corners: Region


def write_crops(
    slide: Path,
    store: Path,
    polygons: Sequence[Sequence[Ring]],
    folder: Path,
    *,
    min_score: float | None = None,
    unreviewed: Unreviewed = "refuse",
) -> Generator[Crop, None, None]:
    """Write ``<slide>_region<n>/image.tif`` and ``class<k>.tif`` of each region, and ``classes.json``.

    Yields after each region. All regions are checked before a file is written, and no file is replaced.

    Parameters
    ----------
    slide : Path
    store : Path
        The cells that `predict` wrote or *Segment slide* made; the decisions about them are next to it.
    polygons : sequence
        For each region an outline of x and y in px of level 0, and its holes, which are refused.
    folder : Path
        The training folder.
    min_score : float, optional
        Cells with a lower score about which no one decided are left out; if left out, the model's for each class.
    unreviewed : Unreviewed

    Raises
    ------
    ImageReadError
        The slide cannot be read.
    AnnotationError
        The cells are not of this slide, or a region lies outside it, is too small, too large, or not reviewed.
    ExportError
        A sample of this name exists, or a file cannot be written.
    """
    with CellReader(store) as reader, _opened(slide, reader) as (levels, number):
        parts = _parts(polygons, slide, levels, number)
        classes = reader.classes or ClassTable.numbered(reader.highest_class())
        cells_of = _Cells(reader, classes, min_score, unreviewed)
        cells_of.check(parts)
        classes = cells_of.classes
        targets = [folder / part.name for part in parts]
        if there := next((target for target in targets if target.exists()), None):
            raise ExportError(f"{there} exists. Choose another --out, or move it away; nothing was written.")
        _write_classes(folder, classes)
        for part, target in zip(parts, targets, strict=True):
            rgb = levels.read_region(number, part.box)
            cells, is_cut, left_out = cells_of.inside(part)
            _write_image(target, rgb, levels.pixel_size_of(number))
            if not part.mask.all():
                with export_write(target / REGION_NAME) as file:
                    file.write(region_bytes(part.corners))
            write_class_images(target, cells)
            height, width = part.mask.shape
            yield Crop(target, (height, width), len(cells), int(is_cut.sum()), left_out, _covered(cells))


class _Cells:
    """The cells of a store, with their decisions."""

    def __init__(
        self, reader: CellReader, classes: ClassTable, min_score: float | None, unreviewed: Unreviewed
    ) -> None:
        self._reader, self._unreviewed = reader, unreviewed
        self._decisions = read_decisions(reader)
        highest = max((each.class_id for each in self._decisions.values()), default=0)
        names = [*classes.names, *(f"class {i}" for i in range(len(classes) + 1, highest + 1))]
        self.classes = ClassTable(tuple(names))
        best = reader.facts.get("model", {}).get("min_scores") or ()
        self._limits = dict(enumerate(best, start=1))
        if min_score is not None:
            self._limits = dict.fromkeys(self.classes.class_ids, min_score)
        self._ids: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def check(self, parts: Sequence[_Part]) -> None:
        """Refuse regions with cells that are not reviewed, unless they are to be kept or left out."""
        if self._unreviewed != "refuse":
            return
        waiting = [(part.name, int((~self._is_decided(part)).sum()), len(self._ids)) for part in parts]
        if any(count for _, count, _ in waiting):
            lines = [f"{name}: {count:,} of {of:,} cells" for name, count, of in waiting if count]
            raise AnnotationError(
                f"Cells of {self._reader.path.name} are not reviewed in {counted(len(lines), 'region')} "
                f"({'; '.join(lines[:5])}). Accept or reject them in Review, or choose --unreviewed keep or leave-out."
            )

    def _is_decided(self, part: _Part) -> npt.NDArray[np.bool_]:
        self._found(part)
        return np.isin(self._ids, list(self._decisions))

    def _found(self, part: _Part) -> tuple[InstanceMasks, npt.NDArray[np.bool_]]:
        """Return the cells with a pixel in a region, cut to it, px of its box, and which are cut."""
        found = self._reader.in_box(part.box)
        assert found is not None  # without a bound
        found = apply_decisions(found, self._decisions, self._limits)
        x0, y0, x1, y1 = part.box
        offsets, masks, kept, cut = [], [], [], []
        for i in range(len(found)):
            cell = found.cell(i)
            left, top, right, bottom = cell.box
            xs, ys, xe, ye = max(left, x0), max(top, y0), min(right, x1), min(bottom, y1)
            mask = cell.mask[ys - top : ye - top, xs - left : xe - left]
            mask = mask & part.mask[ys - y0 : ye - y0, xs - x0 : xe - x0]
            if mask.any():
                kept.append(i)
                offsets.append((xs - x0, ys - y0))
                masks.append(mask)
                cut.append(mask.sum() < cell.mask.sum())
        self._ids = found.ids[kept]
        return InstanceMasks.from_crops(part.mask.shape, offsets, masks, found.class_ids[kept].tolist()), np.array(
            cut, bool
        )

    def inside(self, part: _Part) -> tuple[InstanceMasks, npt.NDArray[np.bool_], int]:
        """Return the cells of a region, px of its box, which of them its border cuts, and how many are left out."""
        cells, is_cut = self._found(part)
        if self._unreviewed != "leave-out":
            return cells, is_cut, 0
        is_kept = np.isin(self._ids, list(self._decisions))
        return cells.select(is_kept), is_cut[is_kept], int((~is_kept).sum())


@contextmanager
def _opened(slide: Path, reader: CellReader) -> Iterator[tuple[SlideLevels, int]]:
    """Open a slide as its cells were predicted; give the level of the cells too."""
    made_from = reader.facts.get("made_from")
    options = made_from.get("image options", {}) if isinstance(made_from, dict) else {}
    levels = open_levels(slide, ReadOptions.model_validate({**options, "level": 0}))
    try:
        check_is_of(reader, levels)
        yield levels, levels.sizes.index(reader.image_size)
    finally:
        levels.close()


def _parts(polygons: Sequence[Sequence[Ring]], slide: Path, levels: SlideLevels, number: int) -> list[_Part]:
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
        parts.append(_Part(f"{name}_region{place}", (x0, y0, x1, y1), mask, moved))
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

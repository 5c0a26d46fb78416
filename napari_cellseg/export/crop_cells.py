"""The cells of a region of a slide: from its file with the decisions of the review, or from label images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.cell_decisions import apply_decisions, read_decisions
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.formats.label_images import to_instances
from napari_cellseg.formats.label_regions import LabelRegions
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.slide_levels import SlideLevels
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.region import Region
from napari_cellseg.wording import counted, tiles_text
from napari_cellseg.workspace.slide_cells import check_is_of

__all__ = ["LabelledCells", "Part", "PartCells", "SlideCells", "StoredCells", "Unreviewed"]

Unreviewed = Literal["refuse", "keep", "leave-out"]
"""What happens to cells in a region about which no one decided."""


@dataclass(frozen=True, eq=False)
class Part:
    """A region at the level of the cells: its name, bounding box, and (h, w) bool mask."""

    name: str
    box: tuple[int, int, int, int]
    mask: npt.NDArray[np.bool_]
    corners: Region

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.mask.shape[0], self.mask.shape[1]


@dataclass(frozen=True, eq=False)
class PartCells:
    """The cells of a region, cut to it, px of its box.

    Attributes
    ----------
    cells : InstanceMasks
    cut : int
        How many the border of the region cuts.
    left_out : int
        How many were left out, since no one reviewed them.
    """

    cells: InstanceMasks
    cut: int
    left_out: int = 0


class SlideCells(Protocol):
    """Where the cells of a slide are.

    Attributes
    ----------
    classes : ClassTable
    size : (int, int)
        Height and width of the level of the cells, px.
    reading : ReadOptions
        How the slide was read for them.
    remark : str
        A warning about them, as a sentence; may be empty.
    """

    classes: ClassTable
    size: tuple[int, int]
    reading: ReadOptions
    remark: str

    def check(self, levels: SlideLevels, parts: Sequence[Part]) -> None:
        """Refuse cells of another image, and regions that are not annotated."""
        ...

    def inside(self, part: Part) -> PartCells:
        """Return the cells with a pixel in a region."""
        ...


class StoredCells:
    """The cells that were predicted, with the decisions of the review; see `SlideCells`."""

    def __init__(self, reader: CellReader, min_score: float | None, unreviewed: Unreviewed) -> None:
        self._reader, self._unreviewed = reader, unreviewed
        self._decisions = read_decisions(reader)
        self.size = reader.image_size
        made_from = reader.facts.get("made_from")
        options = made_from.get("image options", {}) if isinstance(made_from, dict) else {}
        self.reading = ReadOptions.model_validate({**options, "level": None})
        done = reader.tiles_done
        self.remark = "" if done is None else f"{tiles_text(*done)}. The cells of the rest are missing."
        classes = reader.classes or ClassTable.numbered(reader.highest_class())
        highest = max((each.class_id for each in self._decisions.values()), default=0)
        more = (f"class {i}" for i in range(len(classes) + 1, highest + 1))  # of the project, which names them
        self.classes = ClassTable((*classes.names, *more))
        best = reader.facts.get("model", {}).get("min_scores") or ()
        self._limits = dict(enumerate(best, start=1))
        if min_score is not None:
            self._limits = dict.fromkeys(self.classes.class_ids, min_score)

    def check(self, levels: SlideLevels, parts: Sequence[Part]) -> None:
        """Refuse cells of another image, and those that are not reviewed unless they are to be kept or left out."""
        check_is_of(self._reader, levels)
        if self._unreviewed != "refuse":
            return
        lines = []
        for part in parts:
            ids = self._found(part)[1]
            if count := int((~self._is_decided(ids)).sum()):
                lines.append(f"{part.name}: {count:,} of {len(ids):,} cells")
        if lines:
            raise AnnotationError(
                f"Cells of {self._reader.path.name} are not reviewed in {counted(len(lines), 'region')} "
                f"({'; '.join(lines[:5])}). Accept or reject them in Review, or choose --unreviewed keep or leave-out."
            )

    def inside(self, part: Part) -> PartCells:
        """Return the cells with a pixel in a region."""
        cells, ids, is_cut = self._found(part)
        is_kept = self._is_decided(ids) if self._unreviewed == "leave-out" else np.ones(len(ids), bool)
        return PartCells(cells.select(is_kept), int(is_cut[is_kept].sum()), int((~is_kept).sum()))

    def _is_decided(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return np.isin(ids, list(self._decisions))

    def _found(self, part: Part) -> tuple[InstanceMasks, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the cells that are shown with a pixel in a region, cut to it, their ids, and which are cut."""
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
        cells = InstanceMasks.from_crops(part.size, offsets, masks, found.class_ids[kept].tolist())
        return cells, found.ids[kept], np.array(cut, bool)


class LabelledCells:
    """The cells of label images: a folder with ``class<k>.tif``, or an OME-Zarr as *Export* writes it."""

    def __init__(self, path: Path, labels: LabelRegions) -> None:
        self._path, self._labels = path, labels
        self.classes, self.size = labels.classes, labels.size
        self.reading, self.remark = ReadOptions(), ""

    def check(self, levels: SlideLevels, parts: Sequence[Part]) -> None:  # noqa: ARG002 - all of it is labelled
        """Refuse labels of another image."""
        if self.size not in levels.sizes:
            height, width = self.size
            raise AnnotationError(
                f"{self._path} has {width} x {height} px, which no level of {levels.path.name} has. Choose the labels "
                "of this slide."
            )

    def inside(self, part: Part) -> PartCells:
        """Return the cells with a pixel in a region; one that reaches beyond it is cut."""
        x0, y0, x1, y1 = part.box
        top, left = max(0, y0 - 1), max(0, x0 - 1)
        bottom, right = min(self.size[0], y1 + 1), min(self.size[1], x1 + 1)
        is_inside = np.zeros((bottom - top, right - left), bool)
        inner = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        is_inside[inner] = part.mask
        parts, cut = [InstanceMasks.empty(part.size)], 0
        for class_id, values in self._labels.read((left, top, right, bottom)).items():
            kept = np.where(is_inside, values, 0)
            parts.append(to_instances({class_id: kept[inner]}, part.size))
            cut += len(np.setdiff1d(np.intersect1d(kept, np.where(is_inside, 0, values)), [0]))
        return PartCells(InstanceMasks.concatenate(parts), cut)

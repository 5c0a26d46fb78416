"""What the report tells about each image and about all cells, gathered image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.export.exporter import read_image_of
from napari_cellseg.export.overlay import draw_overlay, outlined
from napari_cellseg.export.plan import ExportItem
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.report.pictures import fitted, jpeg
from napari_cellseg.review import UNDECIDED, Cell, Status
from napari_cellseg.review.conversion import instances_of
from napari_cellseg.review.doubts import Shape, norms_of, odd_shape, shape_of
from napari_cellseg.wording import counted, reaching
from napari_cellseg.workspace import Annotations

__all__ = ["CellFacts", "ImageFacts", "Outlier", "counted_cells", "facts_of", "outliers_of", "with_thumbnails"]

OVERLAY_PX = 560
"""Longest side of the picture of an image in the report."""
THUMBNAIL_PX = 96
_OUTLIERS = 24


@dataclass(frozen=True, eq=False, kw_only=True)
class CellFacts:
    """A shown cell without its mask: what the plots need."""

    cell_id: int
    class_id: int
    score: float
    status: Status
    area_px: int
    shape: Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageFacts:
    """One image of the report.

    Attributes
    ----------
    image_id : str
    size : (int, int)
        Height and width, px.
    pixel_size_um : float or None
    overlay : bytes
        JPEG of the image with the outlines of its cells.
    cells : tuple of CellFacts
        The shown cells.
    detections : InstanceMasks
        All cells that are not rejected, also those below the minimum scores, for the comparison with the ground truth.
    """

    image_id: str
    size: tuple[int, int]
    pixel_size_um: float | None
    overlay: bytes = field(repr=False)
    cells: tuple[CellFacts, ...]
    detections: InstanceMasks
    min_scores: Mapping[int, float]
    problem: str = ""

    def counts(self, classes: ClassTable) -> list[int]:
        """Return the number of shown cells of each class."""
        return [sum(cell.class_id == class_id for cell in self.cells) for class_id in classes.class_ids]

    @property
    def reviewed(self) -> int:
        """Shown cells that the user decided about; given labels are not among them."""
        return sum(cell.status not in UNDECIDED for cell in self.cells)

    @property
    def given(self) -> int:
        """Shown cells that come from labels on disk and were not reviewed."""
        return sum(cell.status is Status.GIVEN for cell in self.cells)


@dataclass(frozen=True)
class Outlier:
    """A cell of unusual size or shape for its class, and how; ``thumbnail`` is a JPEG."""

    image_id: str
    cell: CellFacts
    text: str
    thumbnail: bytes = field(default=b"", repr=False)


def facts_of(item: ExportItem, classes: ClassTable) -> ImageFacts | None:
    """Read an image and its cells; None if it has no annotations.

    Raises
    ------
    AnnotationError, ImageReadError
        The image or its annotations cannot be read.
    """
    annotations = item.read()
    if annotations is None:
        return None
    image = read_image_of(item.file, annotations)
    shown = annotations.shown()
    return ImageFacts(
        image_id=item.file.image_id,
        size=annotations.image_size,
        pixel_size_um=image.pixel_size_um,
        overlay=_overlay(image.rgb(), shown, classes),
        cells=tuple(map(_cell_facts, shown)),
        detections=_detections(annotations),
        min_scores=annotations.min_scores,
        problem=annotations.problem,
    )


def counted_cells(images: Sequence[ImageFacts]) -> str:
    """Return in words how many cells the page is about, as `predict` says it if no one decided about a cell."""
    shown, predicted = sum(len(image.cells) for image in images), sum(len(image.detections) for image in images)
    if all(cell.status is Status.PROPOSED for image in images for cell in image.cells):
        scores = {score for image in images for score in image.min_scores.values()}
        return reaching(shown, predicted, dict(enumerate(scores)))
    below = f" ({predicted - shown:,} more proposals are below the minimum score of their class)"
    return counted(shown, "cell") + (below if predicted > shown else "")


def outliers_of(images: Sequence[ImageFacts], most: int = _OUTLIERS) -> tuple[list[Outlier], int]:
    """Return the cells of the most unusual size or shape, compared with their class in all images, and how many are."""
    norms = norms_of((cell.class_id, cell.shape) for image in images for cell in image.cells)
    found: list[tuple[float, Outlier]] = []
    for image in images:
        for cell in image.cells:
            if doubts := odd_shape(cell.shape, norms.get(cell.class_id)):
                text = ", ".join(doubt.text for doubt in doubts)
                found.append((sum(doubt.value for doubt in doubts), Outlier(image.image_id, cell, text)))
    found.sort(key=lambda pair: -pair[0])
    return [outlier for _, outlier in found[:most]], len(found)


def with_thumbnails(outliers: Sequence[Outlier], items: Sequence[ExportItem], classes: ClassTable) -> list[Outlier]:
    """Return the outliers with their pictures; only the images that have one are read again."""
    pictures: dict[tuple[str, int], bytes] = {}
    for item in items:
        image_id = item.file.image_id
        wanted = {outlier.cell.cell_id for outlier in outliers if outlier.image_id == image_id}
        annotations = item.read() if wanted else None
        if annotations is None:
            continue
        rgb = read_image_of(item.file, annotations).rgb()
        for cell in annotations.cells:
            if cell.cell_id in wanted:
                crop = outlined(rgb, cell, classes.colour(cell.class_id))
                pictures[image_id, cell.cell_id] = jpeg(fitted(crop, THUMBNAIL_PX))
    return [replace(outlier, thumbnail=pictures[outlier.image_id, outlier.cell.cell_id]) for outlier in outliers]


def _overlay(rgb: npt.NDArray[np.uint8], cells: Sequence[Cell], classes: ClassTable) -> bytes:
    width = max(2, round(1.6 * max(rgb.shape[:2]) / OVERLAY_PX))  # 1.6 px in the report
    return jpeg(fitted(draw_overlay(rgb, cells, classes, width), OVERLAY_PX))


def _cell_facts(cell: Cell) -> CellFacts:
    return CellFacts(
        cell_id=cell.cell_id,
        class_id=cell.class_id,
        score=cell.score,
        status=cell.status,
        area_px=cell.area,
        shape=shape_of(cell.mask),
    )


def _detections(annotations: Annotations) -> InstanceMasks:
    kept: list[Any] = [cell for cell in annotations.cells if cell.status is not Status.REJECTED]
    return instances_of(kept, annotations.image_size)

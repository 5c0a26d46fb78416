"""Writes the report: a generator, so that the command shows its progress and a dock can stop it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellseg import __version__
from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.export.plan import ExportItem, ExportProgress
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.report.facts import ImageFacts, counted_cells, facts_of, outliers_of, with_thumbnails
from napari_cellseg.report.page import ReportContent, html_page
from napari_cellseg.review.region import Region

if TYPE_CHECKING:
    from training.evaluate import Evaluation

__all__ = ["ReportSummary", "write_report"]


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """The written page; ``problems`` are (image_id, text) of images that are not on it.

    ``counted`` says in words how many cells the page is about, and how many proposals are below the minimum scores.
    """

    path: Path
    images: int
    cells: int
    counted: str
    compared: int
    problems: tuple[tuple[str, str], ...]


def write_report(
    items: Iterable[ExportItem],
    classes: ClassTable,
    path: Path,
    *,
    source: str,
    truth: Mapping[str, InstanceMasks] | None = None,
    regions: Mapping[str, Region] | None = None,
) -> Generator[ExportProgress, None, ReportSummary]:
    """Write one HTML page about the shown cells of images.

    Parameters
    ----------
    items : iterable of ExportItem
        From `items_of`; an image without annotations is left out.
    classes : ClassTable
    path : Path
        The HTML file; its folder is created if it does not exist.
    source : str
        Where the cells come from, for the page.
    truth : mapping of str to InstanceMasks, optional
        Ground truth by image_id; images without it are not compared.
    regions : mapping of str to Region, optional
        The regions of interest by image_id: cells outside are not compared.

    Yields
    ------
    ExportProgress
        One per image.

    Raises
    ------
    AnnotationError
        No image has annotations, or the sizes of an image and its ground truth differ.
    ExportError
        The page cannot be written.
    """
    chosen = tuple(items)
    images: list[ImageFacts] = []
    problems: list[tuple[str, str]] = []
    for number, item in enumerate(chosen, start=1):
        found = None
        try:
            if (found := facts_of(item, classes)) is not None:
                images.append(found)
        except (AnnotationError, ImageReadError) as error:
            problems.append((item.file.image_id, str(error)))
        yield ExportProgress(number, len(chosen), item.file.image_id, 0 if found is None else len(found.cells))
    if not images:
        why = f" The first problem: {problems[0][1]}" if problems else " Segment the images first."
        raise AnnotationError(f"There is nothing to report: no image of {source} has cells that can be read.{why}")
    evaluation, not_counted = _compared(images, classes, truth or {}, regions or {})
    outliers, unusual = outliers_of(images)
    content = ReportContent(
        title=f"Cells of {Path(source).name or source}",
        source=source,
        made=f"{datetime.now():%Y-%m-%d %H:%M}, napari-cellseg {__version__}",
        classes=classes,
        images=images,
        outliers=with_thumbnails(outliers, chosen, classes),
        unusual=unusual,
        evaluation=evaluation,
        not_counted=not_counted,
        problems=problems,
        without=len(chosen) - len(images) - len(problems),
    )
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with export_write(path) as file:
        file.write(html_page(content).encode())
    return ReportSummary(
        path=path,
        images=len(images),
        cells=sum(len(image.cells) for image in images),
        counted=counted_cells(images),
        compared=0 if evaluation is None else evaluation.images,
        problems=tuple(problems),
    )


def _compared(
    images: list[ImageFacts],
    classes: ClassTable,
    truth: Mapping[str, InstanceMasks],
    regions: Mapping[str, Region],
) -> tuple[Evaluation | None, str]:
    """Return the agreement with the ground truth, and a sentence about cells outside of regions of interest."""
    both = {image.image_id: image for image in images if image.image_id in truth}
    if not both:
        return None, ""
    from training.evaluate import evaluate
    from training.region import within_regions

    limits = dict(next(iter(both.values())).min_scores) or dict.fromkeys(classes.class_ids, 0.0)
    limits = {class_id: limits.get(class_id, 0.0) for class_id in classes.class_ids}
    detections = {image_id: image.detections for image_id, image in both.items()}
    wanted, found, text = within_regions(regions, {image_id: truth[image_id] for image_id in both}, detections)
    return evaluate(wanted, found, classes, min_scores=limits), text

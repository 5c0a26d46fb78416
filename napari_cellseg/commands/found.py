"""The cells of several images, and the files written from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.progress import drive
from napari_cellseg.commands.results_model import write_results_model
from napari_cellseg.errors import ExportError
from napari_cellseg.export import ExportItem, ExportPlan, ExportSummary, export_folder
from napari_cellseg.images.read import ImageFile
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import CSV_STYLES, CsvStyle
from napari_cellseg.review import Status, cells_from
from napari_cellseg.wording import reaching
from napari_cellseg.workspace import Annotations

__all__ = ["FoundImage", "export_found", "export_items", "kept_counts", "reaching_of", "write_found"]


@dataclass(frozen=True, eq=False)
class FoundImage:
    """An image and its cells, predicted by a model or read from annotations, which ``source`` names.

    ``number`` is its id in files that number the images; 0 for its place among the images found.
    """

    file: ImageFile
    instances: InstanceMasks
    source: str = ""
    number: int = 0


def kept_counts(cells: InstanceMasks, limits: Mapping[int, float]) -> Counter[int]:
    """Return how many cells of each class_id reach the minimum score of their class."""
    pairs = zip(cells.class_ids.tolist(), cells.scores.tolist(), strict=True)
    return Counter(class_id for class_id, score in pairs if score >= limits.get(class_id, 0.0))


def reaching_of(found: Iterable[FoundImage], limits: Mapping[int, float]) -> str:
    """Return how many predicted cells of the images reach the minimum score of their class, as text."""
    cells = [image.instances for image in found]
    return reaching(sum(kept_counts(some, limits).total() for some in cells), sum(map(len, cells)), limits)


def write_found(
    folder: Path,
    found: Sequence[FoundImage],
    classes: ClassTable,
    limits: Mapping[int, float],
    formats: frozenset[str],
    ids_file: Path | None = None,
    csv: CsvStyle = CSV_STYLES["comma"],
) -> list[Path]:
    """Write the results JSON with all cells, and the other formats with those at or above ``limits`` (by class_id).

    A file next to the results keeps the classes and limits for `report`; see `results_model`.

    Raises
    ------
    ExportError
        A file cannot be written.
    AnnotationError
        An image is not in ``ids_file``, or has another size there.
    """
    results = ExportPlan(folder=folder, formats=frozenset({"results"}), ids_file=ids_file)
    files = list(export_found(found, classes, results).files)
    if others := formats - {"results"}:
        files += export_found(found, classes, replace(results, formats=others, ids_file=None, csv=csv), limits).files
    return [*files, write_results_model(files[0], classes, limits)]


def export_found(
    found: Iterable[FoundImage], classes: ClassTable, plan: ExportPlan, limits: Mapping[int, float] | None = None
) -> ExportSummary:
    """Write files as the Export dock does; the first problem is raised as an `ExportError`."""
    summary = drive(export_folder(export_items(found, classes, limits or {}), classes, plan), lambda _: None)
    if summary.problems:
        raise ExportError(summary.problems[0][1])
    return summary


def export_items(found: Iterable[FoundImage], classes: ClassTable, limits: Mapping[int, float]) -> list[ExportItem]:
    """Return the items for `export_folder`, without cells below the limit of their class."""
    return [ExportItem(image.file, partial(_annotations, image, classes, limits), image.number) for image in found]


def _annotations(image: FoundImage, classes: ClassTable, limits: Mapping[int, float]) -> Annotations:
    instances = image.instances
    # Cells that the user labelled are not proposals.
    status = Status.GIVEN if image.source else Status.PROPOSED
    cells = cells_from(instances, status, image.source, 0.0)
    if image.source:  # a minimum score hides only proposals
        cells = [cell for cell in cells if cell.score >= limits.get(cell.class_id, 0.0)]
    return Annotations(image_size=instances.image_size, classes=classes, cells=tuple(cells), min_scores=limits)

"""The cells of several images, and the files written from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from napari_cellseg.classes import ClassTable
from napari_cellseg.commands.results_model import write_results_model
from napari_cellseg.errors import ExportError
from napari_cellseg.events import SlideDone, drive
from napari_cellseg.export import ExportItem, ExportPlan, ExportSummary, export_folder
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.images.read import ImageFile
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import CSV_STYLES, CsvStyle
from napari_cellseg.review import Status, cells_from
from napari_cellseg.wording import reaching
from napari_cellseg.workspace import Annotations

__all__ = ["FoundImage", "FoundSlide", "export_found", "export_items", "kept_counts", "reaching_of", "write_found"]


@dataclass(frozen=True, eq=False)
class FoundImage:
    """An image and its cells, predicted by a model or read from annotations, which ``source`` names.

    ``number`` is its id in files that number the images; 0 for its place among the images found.
    """

    file: ImageFile
    instances: InstanceMasks
    source: str = ""
    number: int = 0

    def counts(self, limits: Mapping[int, float]) -> Counter[int]:
        """Return how many cells of each class_id reach the minimum score of their class."""
        return kept_counts(self.instances, limits)


@dataclass(frozen=True)
class FoundSlide:
    """A slide whose cells are in a `CellStore` on disk; ``number`` as in `FoundImage`."""

    file: ImageFile
    done: SlideDone
    number: int = 0

    def counts(self, limits: Mapping[int, float]) -> Counter[int]:
        """Return how many cells of each class_id reach the minimum score of their class."""
        with CellStore.open(self.done.store, read_only=True) as store:
            return Counter(store.counts(limits))


def kept_counts(cells: InstanceMasks, limits: Mapping[int, float]) -> Counter[int]:
    """Return how many cells of each class_id reach the minimum score of their class."""
    pairs = zip(cells.class_ids.tolist(), cells.scores.tolist(), strict=True)
    return Counter(class_id for class_id, score in pairs if score >= limits.get(class_id, 0.0))


def reaching_of(found: Iterable[FoundImage | FoundSlide], limits: Mapping[int, float]) -> str:
    """Return how many predicted cells of the images reach the minimum score of their class, as text."""
    images = list(found)
    kept, predicted = (sum(image.counts(least).total() for image in images) for least in (limits, {}))
    return reaching(kept, predicted, limits)


def write_found(
    folder: Path,
    found: Sequence[FoundImage | FoundSlide],
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
    others = replace(results, formats=formats - {"results"}, ids_file=None, csv=csv)
    files: list[Path] = []
    for plan, least in ((results, {}), (others, limits)):
        if plan.formats:
            files += _export(found, classes, plan, least)
    return [*files, write_results_model(files[0], classes, limits)]


def _export(
    found: Sequence[FoundImage | FoundSlide], classes: ClassTable, plan: ExportPlan, limits: Mapping[int, float]
) -> list[Path]:
    """Write files; with a slide among the images, cell by cell where the format can."""
    whole = [image for image in found if isinstance(image, FoundImage)]
    if len(whole) == len(found):
        return list(export_found(whole, classes, plan, limits).files)
    from napari_cellseg.commands.slides import export_with_slides

    return export_with_slides(found, classes, plan, limits)


def export_found(
    found: Iterable[FoundImage], classes: ClassTable, plan: ExportPlan, limits: Mapping[int, float] | None = None
) -> ExportSummary:
    """Write files as the Export dock does; the first problem is raised as an `ExportError`."""
    summary = drive(export_folder(export_items(found, classes, limits or {}), classes, plan))
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

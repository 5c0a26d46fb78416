"""Exports the cells of one slide from its store, in batches: rejected ones left out, with the classes of the review."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ExportError
from napari_cellseg.export.exporter import ExportJob
from napari_cellseg.export.exporters import exporters_of
from napari_cellseg.export.plan import CellsProgress, ExportPlan, ExportSummary
from napari_cellseg.export.stream import CellBatch, StreamedImage, write_streamed
from napari_cellseg.formats.cell_decisions import Decided, Decision, apply_decisions
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.formats.ids import match_ids
from napari_cellseg.images.read import ImageFile
from napari_cellseg.review import Status
from napari_cellseg.wording import tiles_text

__all__ = ["SlideExport", "export_slide", "not_for_slides", "status_of"]

_CELLS_AT_ONCE = 256
"""Cells between two looks for a stop."""
_STATUS = {
    Decided.ACCEPTED: Status.ACCEPTED,
    Decided.EDITED: Status.EDITED,
    Decided.REJECTED: Status.REJECTED,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class SlideExport:
    """The cells of a slide to export.

    Attributes
    ----------
    file : ImageFile
    store : Path
    pixel_size_um : float or None
        Of the level of the store.
    decisions : mapping of int to Decision
        By the id of the cell.
    limits : mapping of int to float
        Minimum scores by class_id of the store.
    match : mapping of int to int
        The class_id of the export of each class_id of the store.
    number : int
        Of the image, in files that number the images.
    """

    file: ImageFile
    store: Path
    pixel_size_um: float | None
    decisions: Mapping[int, Decision]
    limits: Mapping[int, float]
    match: Mapping[int, int]
    number: int = 1

    def batches(self, colours: bool) -> Iterator[CellBatch]:
        """Yield the cells that are shown, best first."""
        with CellReader(self.store) as reader:
            for found, sums in reader.best_first(_CELLS_AT_ONCE):
                shown = apply_decisions(found, self.decisions, self.limits)
                class_ids = np.array([self.match.get(i, i) for i in shown.class_ids.tolist()], np.int32)
                cells = replace(shown, class_ids=class_ids).instances(reader.image_size)
                cells = replace(cells, label_values=shown.ids)  # the numbers that the window shows
                decisions = [self.decisions.get(i) for i in shown.ids.tolist()]
                statuses = [status_of(decision) for decision in decisions]
                by = ["" if decision is None else decision.by for decision in decisions]
                chosen = sums[np.isin(found.ids, shown.ids)] if colours else None
                yield CellBatch(cells, chosen, statuses, by)


def status_of(decision: Decision | None) -> Status:
    """Return the status of a cell with this decision."""
    return Status.PROPOSED if decision is None else _STATUS[decision.decided]


def not_for_slides(formats: frozenset[str]) -> list[str]:
    """Return the names of the formats that cannot be written for a slide."""
    return [exporter.name for exporter in exporters_of(formats) if exporter.stream is None]


def export_slide(
    slide: SlideExport, classes: ClassTable, plan: ExportPlan
) -> Generator[CellsProgress, None, ExportSummary]:
    """Write the files of one slide; memory does not grow with its cells.

    Yields after each batch of cells; closed before its end, it leaves no unfinished file.

    Raises
    ------
    ExportError
        A format needs the whole image in memory, or a file cannot be written.
    AnnotationError
        The store is damaged, or the image is not in the id file.
    """
    if others := not_for_slides(plan.formats):
        raise ExportError(f"{', '.join(others)}: not for slides, since all of the image would have to be in memory.")
    ids = None if plan.ids_file is None else match_ids(plan.ids_file, [slide.file.image_id])
    job = ExportJob(plan, classes, ids)
    with CellReader(slide.store) as reader:
        size, done = reader.image_size, reader.tiles_done
    unfinished = (
        () if done is None else ((slide.file.image_id, f"{tiles_text(*done)}. The cells of the rest are missing."),)
    )
    yield CellsProgress(0)
    cells = unreviewed = 0
    for batch in slide.batches(colours=False):
        cells += len(batch.cells)
        unreviewed += (batch.statuses or []).count(Status.PROPOSED)
        yield CellsProgress(cells)
    image = StreamedImage(
        file=slide.file,
        number=slide.number,
        size=size,
        count=cells,
        pixel_size_um=lambda: slide.pixel_size_um,
        batches=slide.batches,
        limits={},
    )
    yield from write_streamed(exporters_of(plan.formats), job, [image])
    return ExportSummary(
        folder=plan.folder,
        files=tuple(job.files),
        images=1,
        cells=cells,
        unreviewed=unreviewed,
        without_cells=int(not cells),
        not_annotated=0,
        problems=(),
        unfinished=unfinished,
    )

"""Exports reviewed cells image by image, as files for other programs."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from typing import Any

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError, ImageReadError
from napari_cellseg.export.exporter import ExportImage, ExportJob, read_image_of, unique_names
from napari_cellseg.export.exporters import exporters_of
from napari_cellseg.export.plan import ExportItem, ExportPlan, ExportProgress, ExportSummary
from napari_cellseg.formats.ids import match_ids
from napari_cellseg.images.formats import image_size
from napari_cellseg.review import Status

__all__ = ["export_folder"]


def export_folder(
    items: Iterable[ExportItem], classes: ClassTable, plan: ExportPlan
) -> Generator[ExportProgress, None, ExportSummary]:
    """Export images one by one.

    An image that cannot be read becomes a problem in the summary, and the export continues. The files of an image are
    complete when the image is done; the files of the whole folder are written at the end. Without any image to export,
    nothing is written, and the files of an earlier export stay.

    Parameters
    ----------
    items : iterable of ExportItem
        From `items_of`.
    classes : ClassTable
        Names and colours.
    plan : ExportPlan

    Raises
    ------
    ConfigError
        A format does not exist.
    ExportError
        A file cannot be written, or an optional package is missing.
    AnnotationError
        The id file is invalid.
    """
    chosen = tuple(items)
    image_ids = [item.file.image_id for item in chosen]
    ids = None if plan.ids_file is None else match_ids(plan.ids_file, image_ids)
    work = _Export(ExportJob(plan, classes, ids))
    names = unique_names(image_ids)
    folder_names = unique_names(name.replace("/", "_") for name in names)
    problems: list[tuple[str, str]] = []
    for number, (item, name, folder_name) in enumerate(zip(chosen, names, folder_names, strict=True), start=1):
        cells = 0
        try:
            cells = work.add(item, name, folder_name, item.number or number)
        except (AnnotationError, ImageReadError) as error:
            problems.append((item.file.image_id, str(error)))
        yield ExportProgress(number, len(chosen), item.file.image_id, cells)
    counts = work.cell_counts
    if counts:
        work.finish()
    return ExportSummary(
        folder=plan.folder,
        files=tuple(work.job.files),
        images=len(counts),
        cells=sum(counts),
        unreviewed=work.unreviewed,
        without_cells=counts.count(0),
        not_annotated=len(chosen) - len(counts) - len(problems),
        problems=tuple(problems),
        covered=work.job.covered,
        damaged=tuple(work.damaged),
    )


class _Export:
    """One export: writes the files of each image immediately, and collects data for the common files until `finish`."""

    def __init__(self, job: ExportJob) -> None:
        self.job = job
        self.cell_counts: list[int] = []
        self.unreviewed = 0
        self.damaged: list[tuple[str, str]] = []
        self._exporters = exporters_of(job.plan.formats)
        self._needs_pixels = any(exporter.needs_pixels for exporter in self._exporters)
        self._collected: dict[str, list[Any]] = {exporter.name: [] for exporter in self._exporters}

    def add(self, item: ExportItem, name: str, folder_name: str, number: int) -> int:
        """Export one image; returns its number of cells."""
        annotations = item.read()
        if annotations is None and item.slide_store is not None:
            raise AnnotationError(f"its cells are in {item.slide_store}. Open the slide, and export only it.")
        if annotations is None:
            image_size(item.file.path)  # an image that cannot be read is a problem, not one without annotations
            return 0
        image = ExportImage(
            file=item.file,
            name=name,
            folder_name=folder_name,
            number=number,
            size=annotations.image_size,
            cells=annotations.shown(),
            instances=annotations.instances(),
            read=partial(read_image_of, item.file, annotations),
            about=annotations.about,
        )
        if self._needs_pixels:
            _ = image.image  # read everything that may fail before anything is written
        if not self.cell_counts:
            self._create_folder()
        found = {exporter.name: exporter.write(self.job, image) for exporter in self._exporters}
        for exporter_name, value in found.items():
            self._collected[exporter_name].append(value)
        self.cell_counts.append(len(image.cells))
        self.unreviewed += sum(cell.status is Status.PROPOSED for cell in image.cells)
        if annotations.problem:
            self.damaged.append((item.file.image_id, annotations.problem))
        return len(image.cells)

    def _create_folder(self) -> None:
        folder = self.job.plan.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"Cannot create the folder {folder}: {error.strerror or error}.") from error

    def finish(self) -> None:
        """Write the files of all images together."""
        for exporter in self._exporters:
            if exporter.finish is not None:
                exporter.finish(self.job, self._collected[exporter.name])

"""Exports whose cells come in batches, best first, so that a slide with a million cells needs no more memory.

`StreamedImage` is what an `Exporter.stream` gets: a slide with its cells on disk, or an image with cells in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import ExportError
from napari_cellseg.export.exporter import Exporter, ExportJob, unique_names
from napari_cellseg.export.plan import CellsProgress
from napari_cellseg.images.read import ImageFile
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell, Status, cells_from

__all__ = ["CellBatch", "StreamedImage", "named", "write_streamed"]


@dataclass(frozen=True, eq=False)
class CellBatch:
    """Some cells of an image, best first; ``label_values`` are their numbers, each once in the image.

    ``sums`` are those of `measure.colour_sums`, (N, 3) int64; None if they were not asked for. ``statuses`` are those
    of the cells, all proposed if left out, and ``by`` names who decided.
    """

    cells: InstanceMasks
    sums: npt.NDArray[np.int64] | None = None
    statuses: Sequence[Status] | None = None
    by: Sequence[str] | None = None

    def shown(self, limits: Mapping[int, float]) -> tuple[list[Cell], CellBatch]:
        """Return the cells at or above the minimum score of their class, as cells of a review and as a batch."""
        least = np.array([limits.get(class_id, 0.0) for class_id in self.cells.class_ids.tolist()])
        keep = self.cells.scores.astype(np.float64) >= least
        chosen = self.cells.select(keep)
        cells = cells_from(self.cells, Status.PROPOSED, "", 0.0)
        statuses = self.statuses or [Status.PROPOSED] * len(cells)
        by = self.by or [""] * len(cells)
        about = zip(cells, self.cells.values.tolist(), statuses, by, strict=True)
        cells = [replace(cell, cell_id=number, status=status, by=who) for cell, number, status, who in about]
        kept = [cell for cell, is_kept in zip(cells, keep.tolist(), strict=True) if is_kept]
        return kept, CellBatch(chosen, None if self.sums is None else self.sums[keep])


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedImage:
    """An image whose cells come in batches.

    Attributes
    ----------
    file : ImageFile
    number : int
        Its id in files that number the images.
    size : (int, int)
        Height and width, px.
    count : int
        Number of its cells.
    pixel_size_um : callable
        Returns the pixel size, None if unknown.
    batches : callable
        Returns an iterator of `CellBatch`; its argument says whether the sums of colours are needed.
    limits : mapping
        Minimum scores by class_id; for `shown`.
    name : str
        Name of its files, unique in the export; see `named`.
    """

    file: ImageFile
    number: int
    size: tuple[int, int]
    count: int
    pixel_size_um: Callable[[], float | None]
    batches: Callable[[bool], Iterator[CellBatch]]
    limits: Mapping[int, float]
    name: str = ""

    def shown(self, *, colours: bool = False) -> Iterator[tuple[list[Cell], CellBatch]]:
        """Yield the visible cells, batch by batch."""
        for batch in self.batches(colours):
            yield batch.shown(self.limits)


def named(images: Iterable[StreamedImage]) -> list[StreamedImage]:
    """Return the images with the names that `export_folder` would give them."""
    chosen = list(images)
    names = unique_names(image.file.image_id for image in chosen)
    return [replace(image, name=name) for image, name in zip(chosen, names, strict=True)]


def write_streamed(
    exporters: Sequence[Exporter], job: ExportJob, images: Iterable[StreamedImage]
) -> Generator[CellsProgress, None, None]:
    """Write files of formats that have a ``stream``; ``job`` lists them.

    Yields after each batch of cells; closed before its end, it leaves no unfinished file.

    Raises
    ------
    ExportError
        A file cannot be written.
    """
    try:
        job.plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot create the folder {job.plan.folder}: {error.strerror or error}.") from error
    given = named(images)
    cells_in_all = sum(image.count for image in given)
    for number, exporter in enumerate(exporters, start=1):
        assert exporter.stream is not None  # the caller chooses
        cells = [0]
        chosen = [replace(image, batches=partial(_counting, image.batches, cells)) for image in given]
        with closing(exporter.stream(job, chosen)) as steps:
            for _ in steps:
                yield CellsProgress(cells[0], cells_in_all, exporter.label, number, len(exporters))


def _counting(
    batches: Callable[[bool], Iterator[CellBatch]], cells: list[int], colours: bool
) -> Generator[CellBatch, None, None]:
    for batch in batches(colours):
        cells[0] += len(batch.cells)
        yield batch

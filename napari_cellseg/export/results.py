"""``test-results.json`` and its zip: COCO results in the form that challenges expect."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.export.stream import StreamedImage
from napari_cellseg.formats.coco import result_rows, write_image_ids, write_results
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.ids import IDS_NAME
from napari_cellseg.formats.result_stream import stream_results

__all__ = ["RESULTS"]

Rows = tuple[ImageId, list[dict[str, Any]]]


def _rows(job: ExportJob, image: ExportImage) -> Rows:
    """Return the rows of an image and its entry in the id file; a new entry if there is no file."""
    entry = _entry(job, image)
    return entry, result_rows(image.instances, entry.id)


def _entry(job: ExportJob, image: ExportImage | StreamedImage) -> ImageId:
    if job.ids is None:
        return ImageId(f"{image.name}.tif", image.number, *image.size)
    return job.ids.entry(image.file.image_id, image.size)


def _finish(job: ExportJob, rows: list[Rows]) -> None:
    images = [entry for entry, _ in rows] if job.ids is None else job.ids.entries
    path = write_results(job.plan.folder, list(chain.from_iterable(some for _, some in rows)), images)
    _list_files(job, path, images)


def _list_files(job: ExportJob, path: Path, images: Sequence[ImageId]) -> None:
    """List the results, and write the id file if there is none."""
    job.files += [path, path.with_suffix(".zip")]
    if job.ids is None:
        write_image_ids(job.path(IDS_NAME), images)


def _stream(job: ExportJob, images: Sequence[StreamedImage]) -> Generator[None, None, None]:
    entries = [_entry(job, image) for image in images]
    batches = (
        result_rows(batch.cells, entry.id)
        for image, entry in zip(images, entries, strict=True)
        for _, batch in image.shown()
    )
    known = entries if job.ids is None else job.ids.entries
    path = yield from stream_results(job.plan.folder, batches, known, sum(image.count for image in images))
    _list_files(job, path, known)


RESULTS = Exporter(
    name="results",
    label="test-results.json (+ zip)",
    tip="COCO results with RLE masks, checked after writing, and a zip of only this file",
    per="folder",
    write=_rows,
    finish=_finish,
    stream=_stream,
)

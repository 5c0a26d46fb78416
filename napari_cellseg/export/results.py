"""``test-results.json`` and its zip: COCO results in the form that challenges expect."""

from __future__ import annotations

from itertools import chain
from typing import Any

from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.formats.coco import result_rows, write_image_ids, write_results
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.ids import IDS_NAME

__all__ = ["RESULTS"]

Rows = tuple[ImageId, list[dict[str, Any]]]


def _rows(job: ExportJob, image: ExportImage) -> Rows:
    """Return the rows of an image and its entry in the id file; a new entry if there is no file."""
    if job.ids is None:
        entry = ImageId(f"{image.name}.tif", image.number, *image.size)
    else:
        entry = job.ids.entry(image.file.image_id, image.size)
    return entry, result_rows(image.instances, entry.id)


def _finish(job: ExportJob, rows: list[Rows]) -> None:
    folder = job.plan.folder
    images = [entry for entry, _ in rows] if job.ids is None else job.ids.entries
    path = write_results(folder, list(chain.from_iterable(some for _, some in rows)), images)
    job.files += [path, path.with_suffix(".zip")]
    if job.ids is None:
        write_image_ids(job.path(IDS_NAME), images)


RESULTS = Exporter(
    name="results",
    label="test-results.json (+ zip)",
    tip="COCO results with RLE masks, checked after writing, and a zip of only this file",
    per="folder",
    write=_rows,
    suits_slides=True,
    finish=_finish,
)

"""``measurements.csv``: one row per cell of all images."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.export.cell_details import image_details
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.export.stream import StreamedImage
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import csv_lines, measure, write_csv
from napari_cellseg.review import Cell

__all__ = ["ABOUT", "MEASUREMENTS", "Table", "measure_image", "measured_batches"]

Table = dict[str, Sequence[Any]]
"""Columns of one length by their names."""
ABOUT = ("image", "cell_id", "class_id", "class", "score", "status", "by")
"""The columns that say which cell a row is about."""


def measure_image(job: ExportJob, image: ExportImage) -> Table:
    """Return a row for each cell of an image: `ABOUT` and the columns of `measure`."""
    cells = image.cells
    about = _about(image.name, cells, job.classes)
    if any(cell.is_flagged for cell in cells):
        about["unsure"] = ["yes" if cell.unsure else "" for cell in cells]
        about["note"] = [cell.note for cell in cells]
    for name, text in image_details(image.about).items():
        about[f"image_{name}"] = [text] * len(cells)
    found = measure(image.instances, image.image.rgb(), image.image.pixel_size_um)
    return {**about, **{name: column.tolist() for name, column in found.items()}}


def _about(name: str, cells: Sequence[Cell], classes: ClassTable) -> Table:
    return {
        "image": [name] * len(cells),
        "cell_id": [cell.cell_id for cell in cells],
        "class_id": [cell.class_id for cell in cells],
        "class": [classes.names[cell.class_id - 1] for cell in cells],
        "score": [np.float32(cell.score) for cell in cells],
        "status": [cell.status.value for cell in cells],
        "by": [cell.by for cell in cells],
    }


def _finish(job: ExportJob, tables: list[Table]) -> None:
    write_csv(job.path("measurements.csv"), _joined(tables), job.plan.csv)


def _joined(tables: Sequence[Table]) -> dict[str, list[Any]]:
    """Concatenate tables; a column missing in a table (um without a pixel size) is empty there."""
    names = list(dict.fromkeys(name for table in tables for name in table)) or ["image", "cell_id", "class_id", "class"]
    joined: dict[str, list[Any]] = {name: [] for name in names}
    for table in tables:
        count = len(table["image"])
        for name in names:
            joined[name] += table.get(name, [""] * count)
    return joined


def measured_batches(
    job: ExportJob, images: Sequence[StreamedImage], missing: object
) -> tuple[list[str], Iterator[Table]]:
    """Return the names of the columns, and an iterator of tables of some cells with these columns in this order.

    ``missing`` stands where an image lacks a column: um without a pixel size.
    """
    sizes = [image.pixel_size_um() for image in images]
    known = next((size for size in sizes if size is not None), None)
    none = InstanceMasks.empty((1, 1))
    names = [*ABOUT, *measure(none, None, known, sums=np.zeros((0, 3), np.int64))]

    def tables() -> Iterator[Table]:
        for image, size in zip(images, sizes, strict=True):
            for cells, batch in image.shown(colours=True):
                found = measure(batch.cells, None, size, sums=batch.sums)
                table = {**_about(image.name, cells, job.classes), **{k: v.tolist() for k, v in found.items()}}
                yield {name: table.get(name, [missing] * len(cells)) for name in names}

    return names, tables()


def _stream(job: ExportJob, images: Sequence[StreamedImage]) -> Generator[None, None, None]:
    names, tables = measured_batches(job, images, "")
    with export_write(job.path("measurements.csv")) as file:
        file.write(csv_lines([names], job.plan.csv).encode("utf-8-sig"))
        for table in tables:
            file.write(csv_lines(zip(*table.values(), strict=True), job.plan.csv).encode())
            yield


MEASUREMENTS = Exporter(
    name="measurements",
    label="measurements CSV",
    tip="One table of all cells, for spreadsheets and statistics",
    per="folder",
    write=measure_image,
    finish=_finish,
    needs_pixels=True,
    stream=_stream,
)

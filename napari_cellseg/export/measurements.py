"""``measurements.csv``: one row per cell of all images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_cellseg.export.cell_details import image_details
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.measure import measure, write_csv

__all__ = ["ABOUT", "MEASUREMENTS", "Table", "measure_image"]

Table = dict[str, Sequence[Any]]
"""Columns of one length by their names."""
ABOUT = ("image", "cell_id", "class_id", "class", "score", "status", "by")
"""The columns that say which cell a row is about."""


def measure_image(job: ExportJob, image: ExportImage) -> Table:
    """Return a row for each cell of an image: `ABOUT` and the columns of `measure`."""
    cells = image.cells
    about: Table = {
        "image": [image.name] * len(cells),
        "cell_id": [cell.cell_id for cell in cells],
        "class_id": [cell.class_id for cell in cells],
        "class": [job.classes.names[cell.class_id - 1] for cell in cells],
        "score": [np.float32(cell.score) for cell in cells],
        "status": [cell.status.value for cell in cells],
        "by": [cell.by for cell in cells],
    }
    if any(cell.is_flagged for cell in cells):
        about["unsure"] = ["yes" if cell.unsure else "" for cell in cells]
        about["note"] = [cell.note for cell in cells]
    for name, text in image_details(image.about).items():
        about[f"image_{name}"] = [text] * len(cells)
    found = measure(image.instances, image.image.rgb(), image.image.pixel_size_um)
    return {**about, **{name: column.tolist() for name, column in found.items()}}


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


MEASUREMENTS = Exporter(
    name="measurements",
    label="measurements CSV",
    tip="One table of all cells, for spreadsheets and statistics",
    per="folder",
    write=measure_image,
    finish=_finish,
    needs_pixels=True,
)

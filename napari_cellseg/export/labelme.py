"""labelme: one PNG and one JSON file of shapes per image."""

from __future__ import annotations

import base64
import json
from typing import Any

import imagecodecs
import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.export.cell_details import cell_details
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.export.polygons import polygons_of
from napari_cellseg.review import Cell

__all__ = ["LABELME"]

_FOLDER = "labelme"
_VERSION = "5.5.0"
"""The version of labelme written to the file; masks need 5.3 or later."""


def _write(job: ExportJob, image: ExportImage) -> None:
    picture = f"{image.folder_name}.png"
    job.write(imagecodecs.png_encode(image.image.rgb()), _FOLDER, picture)
    data: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": [shape for cell in image.cells for shape in shapes_of(cell, job.classes)],
        "imagePath": picture,
        "imageData": None,
        "imageHeight": image.size[0],
        "imageWidth": image.size[1],
    }
    job.write(json.dumps(data, ensure_ascii=False, indent=1).encode(), _FOLDER, f"{image.folder_name}.json")


def shapes_of(cell: Cell, classes: ClassTable) -> list[dict[str, Any]]:
    """Return one polygon per part, with a common group_id.

    A cell with holes, which labelme's polygons cannot have, becomes a mask.
    """
    polygons = polygons_of(cell.mask, cell.box)
    common: dict[str, Any] = {
        "label": classes.names[cell.class_id - 1],
        "group_id": cell.cell_id if len(polygons) > 1 else None,
        "description": ", ".join(
            (f"score {np.float32(cell.score)!s}", *(f"{n} {v}" for n, v in cell_details(cell).items()))
        ),
        "flags": {},
    }
    if all(len(rings) == 1 for rings in polygons):
        return [{**common, "points": ring.tolist(), "shape_type": "polygon", "mask": None} for (ring,) in polygons]
    x0, y0, x1, y1 = cell.box
    packed = base64.b64encode(imagecodecs.png_encode(cell.mask.astype(np.uint8) * 255)).decode("ascii")
    # labelme's mask boxes include their last pixel.
    points = [[x0, y0], [x1 - 1, y1 - 1]]
    return [{**common, "group_id": None, "points": points, "shape_type": "mask", "mask": packed}]


LABELME = Exporter(
    name="labelme",
    label="labelme JSON",
    tip="<image>.png with <image>.json per image; cells with holes are masks, all others polygons",
    per="image",
    write=_write,
    needs_pixels=True,
)

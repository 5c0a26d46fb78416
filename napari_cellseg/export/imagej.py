"""ImageJ's ROI Manager: a zip with one ROI per cell, coloured and grouped by class."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import roifile

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.export.cell_details import cell_details
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.export.polygons import polygons_of, score_and_value
from napari_cellseg.formats.json_gate import short
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.formats.polygon_mask import checked_rings
from napari_cellseg.formats.zip_gate import opened_zip
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell
from napari_cellseg.review.rings import fill_rings

__all__ = ["ROIS", "read_rois", "write_rois"]

# All errors that roifile raises on damaged bytes.
_ROI_ERRORS = (
    AnnotationError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, RuntimeError,
    OSError, EOFError, MemoryError, struct.error,
)  # fmt: skip
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # segments of a path in ImageJ's composite ROI, those of java.awt.geom


def write_rois(path: Path, cells: Sequence[Cell], classes: ClassTable) -> None:
    """Write the cells of one image; the group of a ROI is its class_id, and its properties include the score.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for cell in cells:
            roi = _roi(cell, classes)
            archive.writestr(f"{roi.name}.roi", roi.tobytes())
    with export_write(path) as file:
        file.write(packed.getvalue())


def read_rois(path: Path, image_size: tuple[int, int], classes: ClassTable) -> InstanceMasks:
    """Read the area ROIs of a zip; the group is the class_id (1 without a group).

    Raises
    ------
    AnnotationError
        The file is not a ROI zip, or a group has no class.
    """
    offsets, masks, class_ids, scores, values = [], [], [], [], []
    with opened_zip(path) as archive:
        packed = [(name, archive.read(name)) for name in archive.names]
    budget = PixelBudget(Path(path).stat().st_size)
    for number, (name, data) in enumerate(packed, start=1):
        where = f"{path}, {short(name)}"
        try:
            roi = roifile.ImagejRoi.frombytes(data)
            class_id = roi.group or 1
            coordinates = roi.coordinates(multi=True)
            rings = checked_rings(coordinates if isinstance(coordinates, list) else [coordinates])
            placed = fill_rings(rings, (0, 0, image_size[1], image_size[0]))
            score, value = score_and_value(roi.properties, number)
            if placed is not None:
                budget.take(placed[1].size)
        except _ROI_ERRORS as error:
            raise AnnotationError(f"{where} is not a valid ImageJ ROI: {str(error)[:200].rstrip('.')}.") from error
        if class_id not in classes.class_ids:
            raise AnnotationError(f"{where}: its group is {class_id}, but there are {len(classes)} classes.")
        if placed is not None:
            offsets.append(placed[0][:2])
            masks.append(placed[1])
            class_ids.append(class_id)
            scores.append(score)
            values.append(value)
    return InstanceMasks.from_crops(image_size, np.reshape(offsets, (-1, 2)), masks, class_ids, scores, values)


def _roi(cell: Cell, classes: ClassTable) -> roifile.ImagejRoi:
    rings = [ring for polygon in polygons_of(cell.mask, cell.box) for ring in polygon]
    left, top, right, bottom = cell.box
    roi = roifile.ImagejRoi(
        name=f"{cell.cell_id:05d}-{_plain(classes.names[cell.class_id - 1])}",
        version=228,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        group=min(cell.class_id, 255),
        stroke_color=b"\xff" + bytes.fromhex(classes.colours[cell.class_id - 1][1:]),
    )
    roi.properties = {"score": str(np.float32(cell.score)), "label_id": str(cell.label_value), **cell_details(cell)}
    if len(rings) == 1:
        roi.roitype = roifile.ROI_TYPE.TRACED
        roi.integer_coordinates = rings[0] - np.array([left, top], np.int32)
        roi.n_coordinates = len(rings[0])
        return roi
    path = [
        value for ring in rings for value in (_MOVE, *ring[0], *(v for x, y in ring[1:] for v in (_LINE, x, y)), _CLOSE)
    ]
    roi.roitype = roifile.ROI_TYPE.RECT  # of a composite
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in " -_." else "_" for letter in name)


def _write(job: ExportJob, image: ExportImage) -> None:
    write_rois(job.path("rois", f"{image.name}.zip"), image.cells, job.classes)


ROIS = Exporter(
    name="rois",
    label="ImageJ ROIs",
    tip="One zip per image, for the ROI Manager of ImageJ or Fiji",
    per="image",
    write=_write,
    suits_slides=True,
)

"""One integer label image of all cells of an image, as TIFF or PNG, with a table of its values."""

from __future__ import annotations

from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import AnnotationError
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import write_csv

__all__ = ["LABELS", "LABELS_PNG", "flat_labels", "write_label_image"]

LabelImage = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

_LARGEST_PNG = 2**16 - 1


def flat_labels(instances: InstanceMasks) -> tuple[LabelImage, npt.NDArray[np.int64]]:
    """Paint all cells into one label image: 1..N in their order; where two overlap, the smaller cell is on top.

    Returns
    -------
    (H, W) uint16 (uint32 for more than 65,535 cells), and the pixels left to each cell, (N,) int64
    """
    count = len(instances)
    image = np.zeros(instances.image_size, np.uint16 if count < 2**16 else np.uint32)
    for i in np.argsort(-instances.areas, kind="stable").tolist():
        x0, y0, x1, y1 = instances.boxes[i].tolist()
        image[y0:y1, x0:x1][instances.masks[i]] = i + 1
    return image, np.bincount(image.ravel(), minlength=count + 1)[1:]


def write_label_image(job: ExportJob, image: ExportImage, *parts: str) -> npt.NDArray[np.int64]:
    """Write the label image at ``parts``, a TIFF or PNG by its suffix; returns the pixels left to each cell.

    Raises
    ------
    AnnotationError
        There are more cells than a PNG can number.
    """
    labels, kept = flat_labels(image.instances)
    is_png = parts[-1].endswith(".png")
    if is_png and len(kept) > _LARGEST_PNG:
        raise AnnotationError(
            f"{image.name} has {len(kept):,} cells; a PNG can number {_LARGEST_PNG:,}. Choose the TIFF label image."
        )
    job.covered += int(np.count_nonzero(kept < image.instances.areas))
    if is_png:
        job.write(imagecodecs.png_encode(labels), *parts)
    else:
        with export_write(job.path(*parts)) as file:
            tifffile.imwrite(file, labels, compression="zlib", photometric="minisblack", metadata=None)
    return kept


def _write(job: ExportJob, image: ExportImage, folder: str, suffix: str) -> None:
    kept = write_label_image(job, image, folder, f"{image.name}{suffix}")
    class_ids = image.instances.class_ids.tolist()
    table: dict[str, Any] = {
        "label": range(1, len(kept) + 1),
        "class_id": class_ids,
        "class": [job.classes.names[class_id - 1] for class_id in class_ids],
        "score": image.instances.scores,
        "cell_id": [cell.cell_id for cell in image.cells],
        "area_px": image.instances.areas,
        "visible_px": kept,
    }
    write_csv(job.path(folder, f"{image.name}.csv"), table, job.plan.csv)


LABELS = Exporter(
    name="labels",
    label="label image (TIFF)",
    tip="All cells in one integer image (16 or 32 bit), for StarDist, ImageJ, scikit-image; a CSV gives the classes",
    per="image",
    write=partial(_write, folder="labels", suffix=".tif"),
)

LABELS_PNG = Exporter(
    name="labels-png",
    label="label image (PNG)",
    tip="All cells in one 16-bit PNG, for up to 65,535 cells per image; a CSV gives the classes",
    per="image",
    write=partial(_write, folder="labels-png", suffix=".png"),
)

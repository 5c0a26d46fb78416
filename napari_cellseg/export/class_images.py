"""A training folder: ``<image>/image.tif`` with ``class1.tif`` ... ``classK.tif``, and ``classes.json``."""

from __future__ import annotations

import json
from typing import Any

from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.workspace.about_lines import REGION_NAME, region_bytes

__all__ = ["CLASS_IMAGES"]

_FOLDER = "training"


def _write(job: ExportJob, image: ExportImage) -> None:
    # The image first: if it cannot be read, no labels are written without an image.
    job.write_image(image, _FOLDER, image.folder_name, "image")
    if image.about.region:
        job.write(region_bytes(image.about.region), _FOLDER, image.folder_name, REGION_NAME)
    job.files += write_class_images(job.plan.folder / _FOLDER / image.folder_name, image.instances)


def _finish(job: ExportJob, images: list[Any]) -> None:
    if images:
        names = {str(class_id): name for class_id, name, _ in job.classes}
        job.write(json.dumps(names, ensure_ascii=False, indent=1).encode(), _FOLDER, "classes.json")


CLASS_IMAGES = Exporter(
    name="class-images",
    label="training folder (label maps)",
    tip="<image>/image.tif with class1.tif ... classK.tif, as Train reads them",
    per="image",
    write=_write,
    finish=_finish,
)

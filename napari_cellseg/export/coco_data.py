"""``coco.json``: a COCO data set of all images."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from napari_cellseg.export.cell_details import cell_details, image_details, region_details
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.formats.coco import CocoDataset, write_dataset
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.images.listing import has_own_folder
from napari_cellseg.instances import InstanceMasks

__all__ = ["COCO"]


_Found = tuple[ImageId, InstanceMasks, list[dict[str, str]], dict[str, Any]]


def _collect(_: ExportJob, image: ExportImage) -> _Found:
    details = [cell_details(cell) for cell in image.cells]
    image_id = ImageId(_name_in_folder(image), image.number, *image.size)
    return image_id, image.instances, details, {**image_details(image.about), **region_details(image.about)}


def _name_in_folder(image: ExportImage) -> str:
    """Return the path of the image file within its project."""
    path, name = image.file.path, PurePosixPath(image.name)
    if has_own_folder(path):
        return str(name / path.name)
    return str(name.with_name(name.name + path.suffix))


def _finish(job: ExportJob, found: list[_Found]) -> None:
    dataset = CocoDataset(
        tuple(image for image, *_ in found),
        job.classes,
        {image.id: instances for image, instances, *_ in found},
        {image.id: details for image, _, details, _ in found},
        {image.id: about for image, *_, about in found},
    )
    write_dataset(job.path("coco.json"), dataset, polygons=job.plan.polygons)


COCO = Exporter(
    name="coco",
    label="COCO data set",
    tip="One JSON file with images, classes and cells",
    per="folder",
    write=_collect,
    suits_slides=True,
    finish=_finish,
)

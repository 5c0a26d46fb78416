"""``coco.json``: a COCO data set of all images."""

from __future__ import annotations

from pathlib import PurePosixPath

from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.formats.coco import CocoDataset, write_dataset
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.images.listing import has_own_folder
from napari_cellseg.instances import InstanceMasks

__all__ = ["COCO"]


def _collect(_: ExportJob, image: ExportImage) -> tuple[ImageId, InstanceMasks]:
    return ImageId(_name_in_folder(image), image.number, *image.size), image.instances


def _name_in_folder(image: ExportImage) -> str:
    """Return the path of the image file within its project."""
    path, name = image.file.path, PurePosixPath(image.name)
    if has_own_folder(path):
        return str(name / path.name)
    return str(name.with_name(name.name + path.suffix))


def _finish(job: ExportJob, found: list[tuple[ImageId, InstanceMasks]]) -> None:
    images = tuple(image for image, _ in found)
    dataset = CocoDataset(images, job.classes, {image.id: instances for image, instances in found})
    write_dataset(job.path("coco.json"), dataset, polygons=job.plan.polygons)


COCO = Exporter(
    name="coco",
    label="COCO data set",
    tip="One JSON file with images, classes and cells",
    per="folder",
    write=_collect,
    finish=_finish,
)

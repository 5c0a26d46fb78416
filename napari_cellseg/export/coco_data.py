"""``coco.json``: a COCO data set of all images."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from napari_cellseg.atomic import export_write
from napari_cellseg.export.cell_details import cell_details, image_details, region_details
from napari_cellseg.export.exporter import Exporter, ExportImage, ExportJob
from napari_cellseg.export.stream import StreamedImage
from napari_cellseg.formats.coco import CocoDataset, annotation_rows, category_rows, image_rows, write_dataset
from napari_cellseg.formats.coco_images import ImageId
from napari_cellseg.formats.result_stream import json_list
from napari_cellseg.images.listing import has_own_folder
from napari_cellseg.instances import InstanceMasks

__all__ = ["COCO"]


_Found = tuple[ImageId, InstanceMasks, list[dict[str, str]], dict[str, Any]]


def _collect(_: ExportJob, image: ExportImage) -> _Found:
    details = [cell_details(cell) for cell in image.cells]
    image_id = ImageId(_name_in_folder(image), image.number, *image.size)
    return image_id, image.instances, details, {**image_details(image.about), **region_details(image.about)}


def _name_in_folder(image: ExportImage | StreamedImage) -> str:
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


def _stream(job: ExportJob, images: Sequence[StreamedImage]) -> Generator[None, None, None]:
    entries = [ImageId(_name_in_folder(image), image.number, *image.size) for image in images]

    def rows() -> Iterator[list[dict[str, Any]]]:
        first_id = 1
        for image, entry in zip(images, entries, strict=True):
            for cells, batch in image.shown():
                details = [cell_details(cell) for cell in cells]
                polygons = job.plan.polygons
                yield list(annotation_rows(batch.cells, entry.id, details, first_id=first_id, polygons=polygons))
                first_id += len(cells)

    start = {"images": image_rows(entries), "categories": category_rows(job.classes)}
    with export_write(job.path("coco.json")) as file:
        file.write(json.dumps(start, separators=(",", ":"), ensure_ascii=False)[:-1].encode())
        file.write(b',"annotations":')
        for data in json_list(rows()):
            file.write(data)
            yield
        file.write(b"}")


COCO = Exporter(
    name="coco",
    label="COCO data set",
    tip="One JSON file with images, classes and cells",
    per="folder",
    write=_collect,
    finish=_finish,
    stream=_stream,
)

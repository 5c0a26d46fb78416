"""Write what was reviewed as files that other programs read, image by image."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError, ImageReadError
from napari_cellseg.export.geojson import write_geojson
from napari_cellseg.export.imagej import write_rois
from napari_cellseg.export.overlay import write_overlay
from napari_cellseg.export.plan import ExportFormat, ExportItem, ExportPlan, ExportProgress, ExportSummary
from napari_cellseg.formats.coco import (
    CocoDataset,
    ImageId,
    result_rows,
    write_dataset,
    write_image_ids,
    write_results,
)
from napari_cellseg.formats.ids import IDS_NAME, IdMatch, match_ids, numbered_ids
from napari_cellseg.formats.label_images import write_class_images
from napari_cellseg.images.read import Image, ImageFile, read_tiff
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.measure import measure, write_csv
from napari_cellseg.review import Cell
from napari_cellseg.workspace import Annotations

__all__ = ["export_folder"]


def export_folder(
    items: Iterable[ExportItem], classes: ClassTable, plan: ExportPlan
) -> Generator[ExportProgress, None, ExportSummary]:
    """Export images one after the other.

    An image that cannot be read is a problem in the summary, and the others go on. Files of single images are complete
    when their image is done; those of the whole folder are written at the end.

    Parameters
    ----------
    items : iterable of ExportItem
        From `items_of`.
    classes : ClassTable
        Names and colours.
    plan : ExportPlan

    Raises
    ------
    ExportError
        A file cannot be written.
    AnnotationError
        The file with the ids is wrong.
    """
    chosen = tuple(items)
    ids = None if plan.ids_file is None else match_ids(plan.ids_file, [item.file.image_id for item in chosen])
    work = _Export(classes, plan, ids)
    problems: list[tuple[str, str]] = []
    for number, item in enumerate(chosen, start=1):
        cells = 0
        try:
            cells = work.add(item)
        except (AnnotationError, ImageReadError) as error:
            problems.append((item.file.image_id, str(error)))
        yield ExportProgress(number, len(chosen), item.file.image_id, cells)
    work.finish()
    counts = work.cell_counts
    return ExportSummary(
        plan.folder,
        tuple(work.files),
        len(counts),
        sum(counts),
        counts.count(0),
        len(chosen) - len(counts) - len(problems),
        tuple(problems),
    )


class _Export:
    """The work of one export: files of each image at once, those of all images collected until `finish`."""

    def __init__(self, classes: ClassTable, plan: ExportPlan, ids: IdMatch | None) -> None:
        self._classes = classes
        self._plan = plan
        self._ids = ids
        self._rows: list[dict[str, Any]] = []
        self._images: list[ImageId] = []
        self._instances: dict[int, InstanceMasks] = {}
        self._measured: list[dict[str, Sequence[Any]]] = []
        self.cell_counts: list[int] = []
        self.files: list[Path] = []
        try:
            plan.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"Cannot make the folder {plan.folder}: {error.strerror or error}.") from error

    def add(self, item: ExportItem) -> int:
        """Export one image; returns the number of its cells."""
        annotations = item.read()
        if annotations is None:
            return 0
        cells, instances = annotations.shown(), annotations.instances()
        image = self._pixels(item.file, annotations)  # all that may fail to be read, before anything is written
        result_id = self._result_id(item.file, annotations)
        self._write_files(item.file, cells, instances, image)
        number = len(self.cell_counts) + 1
        if result_id is not None:
            self._rows += result_rows(instances, result_id.id)
        self._images.append(ImageId(_name_in_folder(item.file), number, *annotations.image_size))
        if self._wants(ExportFormat.COCO):
            self._instances[number] = instances
        if image is not None and self._wants(ExportFormat.MEASUREMENTS):
            self._measured.append(_measurements(item.file, cells, instances, self._classes, image))
        self.cell_counts.append(len(cells))
        return len(cells)

    def finish(self) -> None:
        """Write the files of all images together."""
        folder = self._plan.folder
        if self._wants(ExportFormat.RESULTS):
            images = self._numbered() if self._ids is None else self._ids.entries
            path = write_results(folder, self._rows, images)
            self.files += [path, path.with_suffix(".zip")]
            if self._ids is None:
                write_image_ids(folder / IDS_NAME, images)
                self.files.append(folder / IDS_NAME)
        if self._wants(ExportFormat.COCO):
            path = folder / "coco.json"
            dataset = CocoDataset(tuple(self._images), self._classes, self._instances)
            write_dataset(path, dataset, polygons=self._plan.polygons)
            self.files.append(path)
        if self._wants(ExportFormat.MEASUREMENTS):
            write_csv(folder / "measurements.csv", _joined(self._measured))
            self.files.append(folder / "measurements.csv")
        if self._wants(ExportFormat.CLASS_IMAGES) and self.cell_counts:
            names = {str(class_id): name for class_id, name, _ in self._classes}
            with export_write(folder / "training" / "classes.json") as file:
                file.write(json.dumps(names, ensure_ascii=False, indent=1).encode())

    def _wants(self, *formats: ExportFormat) -> bool:
        return not self._plan.formats.isdisjoint(formats)

    def _numbered(self) -> tuple[ImageId, ...]:
        return numbered_ids((image.image_id, image.size) for image in self._images)

    def _pixels(self, file: ImageFile, annotations: Annotations) -> Image | None:
        if not self._wants(ExportFormat.MEASUREMENTS, ExportFormat.OVERLAY):
            return None
        image = read_tiff(file.path, options=file.reading)
        if image.size != annotations.image_size:
            raise AnnotationError(
                f"The annotations of {file.image_id} are for {annotations.image_size}, the image has {image.size} px."
            )
        return image

    def _result_id(self, file: ImageFile, annotations: Annotations) -> ImageId | None:
        if not self._wants(ExportFormat.RESULTS):
            return None
        if self._ids is None:
            return ImageId(f"{file.image_id}.tif", len(self.cell_counts) + 1, *annotations.image_size)
        return self._ids.entry(file.image_id, annotations.image_size)

    def _write_files(
        self, file: ImageFile, cells: Sequence[Cell], instances: InstanceMasks, image: Image | None
    ) -> None:
        name, plan = file.image_id, self._plan
        if self._wants(ExportFormat.CLASS_IMAGES):
            target = plan.folder / "training" / name
            self.files += write_class_images(target, instances, backup=True)
            self.files.append(_copy(file.path, target / "image.tif"))
        if self._wants(ExportFormat.GEOJSON):
            write_geojson(self._new("geojson", f"{name}.geojson"), cells, self._classes)
        if self._wants(ExportFormat.ROIS):
            write_rois(self._new("rois", f"{name}.zip"), cells, self._classes)
        if image is not None and self._wants(ExportFormat.OVERLAY):
            write_overlay(self._new("overlays", f"{name}.png"), image.rgb(), cells, self._classes)

    def _new(self, folder: str, name: str) -> Path:
        path = self._plan.folder / folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"Cannot make the folder {path.parent}: {error.strerror or error}.") from error
        self.files.append(path)
        return path


def _copy(source: Path, target: Path) -> Path:
    try:
        with source.open("rb") as pixels, export_write(target) as file:
            shutil.copyfileobj(pixels, file)
    except OSError as error:
        raise ImageReadError(f"Cannot read {source}: {error.strerror or error}.") from error
    return target


def _name_in_folder(file: ImageFile) -> str:
    return f"{file.image_id}/{file.path.name}" if file.path.stem.lower() == "image" else file.path.name


def _measurements(
    file: ImageFile, cells: Sequence[Cell], instances: InstanceMasks, classes: ClassTable, image: Image
) -> dict[str, Sequence[Any]]:
    about: dict[str, Sequence[Any]] = {
        "image": [file.image_id] * len(cells),
        "cell_id": [cell.cell_id for cell in cells],
        "class_id": [cell.class_id for cell in cells],
        "class": [classes.names[cell.class_id - 1] for cell in cells],
        "score": [np.float32(cell.score) for cell in cells],
        "status": [cell.status.value for cell in cells],
        "by": [cell.by for cell in cells],
    }
    found = measure(instances, image.rgb(), image.pixel_size_um)
    return {**about, **{name: column.tolist() for name, column in found.items()}}


def _joined(tables: Sequence[dict[str, Sequence[Any]]]) -> dict[str, list[Any]]:
    """Put tables below each other; a column that one does not have (um without a pixel size) is empty there."""
    names = list(dict.fromkeys(name for table in tables for name in table)) or ["image", "cell_id", "class_id", "class"]
    joined: dict[str, list[Any]] = {name: [] for name in names}
    for table in tables:
        count = len(table["image"])
        for name in names:
            joined[name] += table.get(name, [""] * count)
    return joined

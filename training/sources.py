"""The sources of *Train*: the open folder, its annotated images, or other data; and corrections not yet written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.atomic import replace_folder, write_errors
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, TrainingError
from napari_cellseg.export import ExportItem, ExportPlan, ExportProgress, ExportSummary, Which, export_folder, items_of
from napari_cellseg.formats.label_images import class_files, from_instances, read_class_images
from napari_cellseg.images.listing import has_own_folder, list_images
from napari_cellseg.importers.write import EXACT_NAME
from napari_cellseg.workspace import Annotations, Project, Sessions
from napari_cellseg.workspace.places import state_folder
from training.region import region_of
from training.report import DataProblem, DataReport, ScanStep

__all__ = ["Checked", "DataSource", "TrainData", "check_data", "edited_items", "write_annotated", "write_edits"]

Scan = Callable[[Path, ClassTable | None], Generator[ScanStep | None, None, DataReport]]
"""Reads the data of a path, with its classes when they are known, and reports them: `report.scan_steps`, somewhere."""


class DataSource(Enum):
    """Where the training images come from; the value is the text to display."""

    FOLDER = "this folder"
    ANNOTATED = "annotated images"
    OTHER = "other data..."


@dataclass(frozen=True)
class TrainData:
    """A training folder or COCO file, and where its runs are kept.

    Attributes
    ----------
    source : DataSource
    path : Path
        The ``data`` of `training.engine.train`.
    home : Path
        The folder that the user sees.
    """

    source: DataSource
    path: Path
    home: Path

    @property
    def runs(self) -> Path:
        """Folder of the runs on this data."""
        return state_folder(self.home) / "runs"

    @classmethod
    def of_folder(cls, project: Project) -> TrainData | None:
        """Return the open folder itself; None when it is not laid out as ``<id>/image.tif``."""
        folder = project.path
        fits = folder.is_dir() and all(project.class_folder(file.image_id) for file in project.images)
        return cls(DataSource.FOLDER, folder, folder) if fits else None

    @classmethod
    def of_annotated(cls, project: Project) -> TrainData:
        """Return the training folder, yet to be written, of the annotated images."""
        return cls(DataSource.ANNOTATED, project.state_folder / "training", project.folder)

    @classmethod
    def of_path(cls, path: Path) -> TrainData:
        """Return a folder or COCO file that the user chose."""
        return cls(DataSource.OTHER, path, path if path.is_dir() else path.parent)


@dataclass(frozen=True, eq=False, kw_only=True)
class Checked:
    """The result of the data check.

    Attributes
    ----------
    data : TrainData
    report : DataReport
    unwritten : tuple of ExportItem
        Images whose shown cells differ from ``class*.tif``.
    undecided : int
        Shown cells of these images that are still proposed, neither accepted nor edited.
    stamps : tuple
        Names, sizes and times of the files that were read; equal for equal data.
    """

    data: TrainData
    report: DataReport
    unwritten: tuple[ExportItem, ...] = ()
    undecided: int = 0
    stamps: tuple[Any, ...] = field(default=(), repr=False)


def edited_items(sessions: Sessions, *, also_labelled: bool = False) -> tuple[ExportItem, ...]:
    """Return the images in which the user decided about a cell; call it in the thread of the sessions.

    With ``also_labelled``, images with ``class*.tif`` too.
    """
    items = items_of(sessions, Which.ALL)
    return tuple(item for item in items if _is_annotated(sessions, item.file.image_id, also_labelled))


def check_data(
    scan: Scan, data: TrainData, items: Sequence[ExportItem], classes: ClassTable | None, known: Checked | None
) -> Generator[Any, None, Checked]:
    """Check the training data; iterate it in the thread of a job.

    Parameters
    ----------
    scan : callable
        Reads the data.
    data : TrainData
    items : sequence of ExportItem
        For ANNOTATED the images to train on, else those to compare with their ``class*.tif``.
    classes : ClassTable or None
        As `training.dataset.find_samples`.
    known : Checked, optional
        An earlier result, whose report is reused when no file has changed.

    Raises
    ------
    CellSegError
        There is no data.
    """
    yield None
    left_out: tuple[DataProblem, ...] = ()
    unwritten: tuple[ExportItem, ...] = ()
    undecided = 0
    if data.source is DataSource.ANNOTATED:
        left_out = yield from write_annotated(data.path, items, classes)
    elif data.source is DataSource.FOLDER:
        unwritten, undecided = yield from _unwritten(items)
    stamps = _stamps(data.path)
    if known is not None and (known.data, known.stamps) == (data, stamps) and classes in (None, known.report.classes):
        return Checked(data=data, report=known.report, unwritten=unwritten, undecided=undecided, stamps=stamps)
    report = yield from scan(data.path, classes)
    problems = (*report.errors, *left_out, *report.warnings)
    return Checked(
        data=data,
        report=DataReport(report.path, report.classes, report.images, problems),
        unwritten=unwritten,
        undecided=undecided,
        stamps=stamps,
    )


def write_edits(project: Project, items: Sequence[ExportItem]) -> Generator[ScanStep, None, tuple[str, ...]]:
    """Write the shown cells of images to their ``class*.tif``; return the image_ids.

    Raises
    ------
    ExportError
        The files cannot be written.
    """
    for number, item in enumerate(items, start=1):
        annotations = item.read()
        assert annotations is not None  # of an image with decided cells
        project.write_class_images(item.file.image_id, annotations.instances())
        yield ScanStep(number, len(items), item.file.image_id)
    return tuple(item.file.image_id for item in items)


def _is_annotated(sessions: Sessions, image_id: str, also_labelled: bool) -> bool:
    folder = sessions.project.class_folder(image_id)
    if also_labelled and folder is not None and class_files(folder):
        return True
    try:
        summary = sessions.summary(image_id)
    except AnnotationError:  # damaged; reported when the image is opened
        return False
    return summary is not None and (summary.progress.reviewed > 0 or (also_labelled and summary.progress.given > 0))


def write_annotated(
    folder: Path, items: Sequence[ExportItem], classes: ClassTable | None
) -> Generator[ScanStep, None, tuple[DataProblem, ...]]:
    """Rebuild the training folder from the annotated images; return what is missing in it and why.

    Raises
    ------
    TrainingError
        No image is annotated.
    ExportError
        It cannot be written; the old one is unchanged.
    """
    if not items:
        raise TrainingError(
            "No image of this folder is annotated yet. Accept or correct the cells of some images in Review first."
        )
    # Next to the old one, so that a full disk leaves that, and images that were taken out since are not in the new one.
    new = folder.with_name(f".{folder.name}.00000000.tmp")
    with suppress(OSError):
        shutil.rmtree(new)  # of a program that was killed
    try:
        summary = yield from _exported(new, items, classes)
        made = new / "training"
        with write_errors(folder):
            if made.is_dir():  # no image could be read otherwise
                replace_folder(made, folder)
            elif folder.exists():
                shutil.rmtree(folder)
    finally:
        with suppress(OSError):
            shutil.rmtree(new)
    left_out = [DataProblem("warning", image_id, f"left out: {text}") for image_id, text in summary.problems]
    return (*left_out, *(DataProblem("warning", image_id, text) for image_id, text in summary.damaged))


def _exported(
    folder: Path, items: Sequence[ExportItem], classes: ClassTable | None
) -> Generator[ScanStep, None, ExportSummary]:
    plan = ExportPlan(folder=folder, formats=frozenset({"class-images"}))
    steps = export_folder(items, classes or ClassTable.numbered(1), plan)
    while True:
        try:
            step: ExportProgress = next(steps)
        except StopIteration as end:
            summary: ExportSummary = end.value
            return summary
        yield ScanStep(step.image, step.images, step.image_id)


def _unwritten(items: Sequence[ExportItem]) -> Generator[ScanStep, None, tuple[tuple[ExportItem, ...], int]]:
    """Return the images whose cells differ from their files, and how many of these cells are undecided."""
    found, undecided = [], 0
    for number, item in enumerate(items, start=1):
        annotations = item.read()
        if annotations is not None and _differs(annotations, item.file.path.parent):
            found.append(item)
            undecided += sum(not cell.is_kept for cell in annotations.shown())
        yield ScanStep(number, len(items), item.file.image_id)
    return tuple(found), undecided


def _differs(annotations: Annotations, folder: Path) -> bool:
    """Return whether writing the annotations would change a label image."""
    on_disk = read_class_images(folder, annotations.image_size)
    cells = annotations.instances()
    shown = from_instances(cells, sorted({*on_disk, *cells.class_ids.tolist()}))
    empty = np.zeros(annotations.image_size, np.int32)
    return any(not np.array_equal(image, on_disk.get(class_id, empty)) for class_id, image in shown.items())


def _stamps(path: Path) -> tuple[Any, ...]:
    """Describe the files of a training folder (or COCO file), so that a replaced file is noticed."""
    tables = [path / "classes.json", path / EXACT_NAME, path.parent / "classes.json"]
    files = [path] if path.is_file() else [table for table in tables if table.is_file()]
    if path.is_dir():
        folders = {file.path.parent for file in list_images(path) if has_own_folder(file.path)}
        files += [file for folder in sorted(folders) for file in sorted(folder.iterdir()) if file.is_file()]
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists())
    return (*stamps, *_regions(path))


def _regions(path: Path) -> tuple[Any, ...]:
    """Return the regions of interest of a training folder, which may stand in its annotations only."""
    if not path.is_dir():
        return ()
    found = ((file.image_id, region_of(file.path, {path: file.image_id})) for file in list_images(path))
    return tuple((image_id, region) for image_id, region in found if region)

"""The plan of an export (images, formats, folder), and its events and summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from napari_cellseg.events import Progress
from napari_cellseg.images.read import ImageFile
from napari_cellseg.measure import CSV_STYLES, CsvStyle
from napari_cellseg.wording import counted
from napari_cellseg.workspace import Annotations, Sessions

__all__ = ["CellsProgress", "ExportItem", "ExportPlan", "ExportProgress", "ExportSummary", "Which", "items_of"]


class Which(Enum):
    """The images of a folder to export."""

    ALL = "all"
    REVIEWED = "reviewed"
    ONE = "this one"


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """The files to write.

    Parameters
    ----------
    folder : Path
        The folder to write to; created if it does not exist.
    formats : frozenset of str
        Names of `EXPORTERS`.
    ids_file : Path, optional
        The names and ids of the images for ``test-results.json``; if left out, 1, 2, ... in order, and written next
        to it. An image that is left out keeps its number, so that the ids stay when it is repaired.
    polygons : bool
        Outlines in the COCO data set instead of RLE; holes are filled.
    csv : CsvStyle
        Decimal sign and separator of measurements.
    """

    folder: Path
    formats: frozenset[str]
    ids_file: Path | None = None
    polygons: bool = False
    csv: CsvStyle = CSV_STYLES["comma"]


@dataclass(frozen=True)
class ExportItem:
    """One image.

    Attributes
    ----------
    file : ImageFile
    read : callable
        Returns its cells, or None if it has no annotations.
    number : int
        Its id in files that number the images; 0 for its place in the export.
    slide_store : Path, optional
        The file of its cells, if it is a slide with cells; see `export_slide`.
    """

    file: ImageFile
    read: Callable[[], Annotations | None]
    number: int = 0
    slide_store: Path | None = None


@dataclass(frozen=True)
class ExportProgress:
    """Image ``image`` (1-based) of ``images`` is done."""

    image: int
    images: int
    image_id: str
    cells: int


@dataclass(frozen=True)
class CellsProgress(Progress):
    """Some cells of a streamed export are written.

    Attributes
    ----------
    cells, cells_in_all : int
        Of the format that is being written; ``cells_in_all`` is 0 while the cells are being counted.
    label : str
        Of the format; empty while the cells are being counted.
    number, formats : int
        1 for the first of the formats.
    """

    cells: int
    cells_in_all: int = 0
    label: str = ""
    number: int = 1
    formats: int = 1

    def __str__(self) -> str:
        """Return "GeoJSON: 5,120 of 142,099 cells"."""
        if not self.label:
            return f"Counting: {counted(self.cells, 'cell')}"
        return f"{self.label}: {self.cells:,} of {counted(self.cells_in_all, 'cell')}"


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """The result of an export.

    ``problems`` are (image_id, text) of images that were left out; ``not_annotated`` images are left out too.
    ``damaged`` are (image_id, text) of images of which a damaged part is missing.
    ``unfinished`` are (image_id, text) of slides of which tiles are not predicted.
    ``unreviewed`` of the cells were proposed by a model, and no one decided about them.
    ``covered`` cells lost pixels to other cells in label images, which have one cell per pixel.
    """

    folder: Path
    files: tuple[Path, ...]
    images: int
    cells: int
    without_cells: int
    not_annotated: int
    problems: tuple[tuple[str, str], ...]
    covered: int = 0
    unreviewed: int = 0
    damaged: tuple[tuple[str, str], ...] = ()
    unfinished: tuple[tuple[str, str], ...] = ()

    @property
    def hint(self) -> str:
        """What to do when there was nothing to export; empty if images were exported."""
        if self.images:
            return ""
        if self.problems:
            without = f" and {self.not_annotated:,} without annotations" if self.not_annotated else ""
            failed = counted(len(self.problems), "image")
            return f"Nothing was exported: {failed} with problems{without}. No file was written."
        if not self.not_annotated:
            return "Nothing was exported: no image was chosen. No file was written."
        return (
            f"Nothing was exported: {counted(self.not_annotated, 'image')} without annotations. "
            "Segment the images, or run Batch on the folder, then export again."
        )

    def __str__(self) -> str:
        """Return "27 images, 2 without cells, 0 problems"."""
        parts = [counted(self.images, "image"), f"{self.without_cells:,} without cells"]
        if self.not_annotated:
            parts.append(f"{self.not_annotated:,} not annotated and left out")
        if self.unreviewed:
            verb = "is" if self.unreviewed == 1 else "are"
            parts.append(f"{self.unreviewed:,} of {counted(self.cells, 'cell')} {verb} not reviewed")
        if self.covered:
            parts.append(f"{counted(self.covered, 'cell')} partly covered in label images")
        if self.damaged:
            parts.append(f"{counted(len(self.damaged), 'image')} with damaged annotations, which are incomplete")
        if self.unfinished:
            parts.append(f"{counted(len(self.unfinished), 'slide')} with tiles that are not predicted")
        return ", ".join([*parts, counted(len(self.problems), "problem")])


def items_of(sessions: Sessions, which: Which, image_id: str | None = None) -> tuple[ExportItem, ...]:
    """Return the images to export: open images with their present cells, others to be read during the export.

    Parameters
    ----------
    sessions : Sessions
    which : Which
        REVIEWED: images whose cells are all decided.
    image_id : str, optional
        The image for ONE.

    Raises
    ------
    AnnotationError
        There is no such image.
    """
    project = sessions.project
    files = project.images if which is not Which.ONE else (project.file(image_id or ""),)
    if which is Which.REVIEWED:
        files = tuple(file for file in files if _is_reviewed(sessions, file.image_id))
    return tuple(
        ExportItem(file, _reader(sessions, file.image_id), slide_store=_store(sessions, file)) for file in files
    )


def _store(sessions: Sessions, file: ImageFile) -> Path | None:
    path = sessions.project.slide_store(file.image_id)
    return path if path.is_file() else None


def _is_reviewed(sessions: Sessions, image_id: str) -> bool:
    summary = sessions.summary(image_id)
    return summary is not None and summary.progress.reviewed == summary.progress.total


def _reader(sessions: Sessions, image_id: str) -> Callable[[], Annotations | None]:
    """Return a function for the worker; an open image is read now, in the window's thread."""
    if not sessions.is_open(image_id):
        return partial(sessions.project.read, image_id)
    now = sessions.read(image_id)
    return lambda: now

"""The annotations file of one image: a header line and a line a cell, each JSON; replaced as a whole."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell, Progress, ReviewSession, Status, instances_of
from napari_cellseg.workspace.cell_lines import cells_of_rows, rows_of_cells

__all__ = [
    "Annotations",
    "Header",
    "ImageSummary",
    "LabelStamps",
    "cell_lines",
    "new_revision",
    "read_annotations",
    "read_header",
    "summarise",
    "summary_of",
    "write_annotations",
]

FORMAT = "napari-cellseg annotations"
VERSION = 1
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


LabelStamps = Mapping[str, tuple[int, int]]
"""Size in bytes and time of change in ns of each ``class*.tif``, by name: enough to see that one was replaced."""


@dataclass(frozen=True)
class ImageSummary:
    """What the image list shows of one image.

    ``cells`` are those shown, by class_id; ``progress`` counts the rejected ones too; ``saved_at`` is in seconds since
    1970, None when not saved.
    """

    cells: Mapping[int, int]
    progress: Progress
    saved_at: float | None = None

    @property
    def total(self) -> int:
        """Cells shown, of all classes."""
        return sum(self.cells.values())


@dataclass(frozen=True)
class Annotations:
    """All cells of one image, rejected and hidden ones too, and with which minimum scores they were looked at."""

    image_size: tuple[int, int]
    classes: ClassTable
    cells: tuple[Cell, ...]
    min_scores: Mapping[int, float] = field(default_factory=dict)
    next_id: int = 1
    revision: str = ""
    labels: LabelStamps = field(default_factory=dict)

    def shown(self) -> list[Cell]:
        """Return the cells that a review shows, by id: no rejected ones, no proposals below a minimum score."""
        cells = sorted(self.cells, key=lambda cell: cell.cell_id)
        return [cell for cell in cells if _is_shown(cell, self.min_scores)]

    def instances(self) -> InstanceMasks:
        """Return the masks of `shown`, in that order."""
        return instances_of(self.shown(), self.image_size)


@dataclass(frozen=True)
class Header:
    """What the first line of the file says."""

    summary: ImageSummary
    revision: str
    labels: LabelStamps


def new_revision() -> str:
    """Return a name for a state of the annotations, by which a journal says what it continues."""
    return secrets.token_hex(8)


def cell_lines(cells: Sequence[Cell]) -> list[str]:
    """Return the line of each cell in the file."""
    encode = _ENCODER.encode
    return [encode(row) for row in rows_of_cells(cells)]


def write_annotations(
    path: Path, annotations: Annotations, summary: ImageSummary, lines: Sequence[str] | None = None
) -> None:
    """Replace the file, atomically; ``lines`` are those of `cell_lines` when they are known.

    Raises
    ------
    ExportError
        The disk is full, the folder is read-only, ...
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "image_size": list(annotations.image_size),
        "classes": annotations.classes.to_json(),
        "min_scores": {str(class_id): score for class_id, score in annotations.min_scores.items()},
        "next_id": annotations.next_id,
        "revision": annotations.revision,
        "labels": {name: list(stamp) for name, stamp in annotations.labels.items()},
        "saved_at": time.time() if summary.saved_at is None else summary.saved_at,
        "cells": len(annotations.cells),
        "shown": {str(class_id): number for class_id, number in summary.cells.items()},
        "reviewed": summary.progress.reviewed,
        "reviewable": summary.progress.total,
    }
    if lines is None:
        lines = cell_lines(annotations.cells)
    with export_write(path) as file:
        file.write("\n".join((_ENCODER.encode(header), *lines, "")).encode())


def read_annotations(path: Path, image_size: tuple[int, int] | None = None) -> Annotations:
    """Read the file.

    Parameters
    ----------
    path : Path
    image_size : (int, int), optional
        Height and width the image has.

    Raises
    ------
    AnnotationError
        It is damaged, of a later version, or of an image of another size.
    """
    try:
        first, *lines = path.read_bytes().splitlines()
        header = _checked_header(first, path)
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        size = (int(header["image_size"][0]), int(header["image_size"][1]))
        if len(rows) != header["cells"]:
            raise AnnotationError(f"it has {len(rows)} cells and says it has {header['cells']}")
        if image_size is not None and size != tuple(image_size):
            raise AnnotationError(
                f"it is for an image of {size}, the image now has {tuple(image_size)} (height, width)"
            )
        return Annotations(
            size,
            ClassTable.from_json(header["classes"]),
            tuple(cells_of_rows(rows)),
            {int(class_id): float(score) for class_id, score in header["min_scores"].items()},
            int(header["next_id"]),
            str(header["revision"]),
            _stamps(header),
        )
    except (AnnotationError, ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(f"The annotations in {path} cannot be read: {_reason(error)}.") from error


def read_header(path: Path) -> Header:
    """Read the first line only.

    Raises
    ------
    AnnotationError
        As `read_annotations`.
    """
    try:
        with path.open("rb") as file:
            header = _checked_header(file.readline(), path)
        shown = {int(class_id): int(number) for class_id, number in header["shown"].items()}
        progress = Progress(int(header["reviewed"]), int(header["reviewable"]))
        summary = ImageSummary(shown, progress, float(header["saved_at"]))
        return Header(summary, str(header["revision"]), _stamps(header))
    except (AnnotationError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(f"The annotations in {path} cannot be read: {_reason(error)}.") from error


def summarise(cells: Sequence[Cell], min_scores: Mapping[int, float], saved_at: float | None = None) -> ImageSummary:
    """Count cells as a review shows them."""
    shown: dict[int, int] = {}
    reviewed = rejected = 0
    for cell in cells:
        if cell.status is Status.REJECTED:
            rejected += 1
        elif _is_shown(cell, min_scores):
            shown[cell.class_id] = shown.get(cell.class_id, 0) + 1
            reviewed += cell.reviewed
    return ImageSummary(
        dict(sorted(shown.items())), Progress(reviewed + rejected, rejected + sum(shown.values())), saved_at
    )


def summary_of(session: ReviewSession) -> ImageSummary:
    """Count the cells of a review as it shows them; costs nothing."""
    statuses = tuple(status for status in Status if status is not Status.REJECTED)
    shown = {class_id: session.count(class_id, statuses) for class_id in session.classes.class_ids}
    return ImageSummary({class_id: number for class_id, number in shown.items() if number}, session.progress)


def _is_shown(cell: Cell, min_scores: Mapping[int, float]) -> bool:
    if cell.status is Status.PROPOSED:
        return cell.score >= min_scores.get(cell.class_id, 0.0)
    return cell.status is not Status.REJECTED


def _stamps(header: Mapping[str, Any]) -> LabelStamps:
    return {str(name): (int(size), int(changed)) for name, (size, changed) in header["labels"].items()}


def _checked_header(line: bytes, path: Path) -> dict[str, Any]:
    header = json.loads(line)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise AnnotationError(f"{path.name} is no annotations file")
    if header["version"] > VERSION:
        raise AnnotationError("a later version of napari-cellseg wrote it; update to read it")
    return header


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") if isinstance(error, (AnnotationError, ConfigError)) else f"damaged ({error})"

"""The annotations file of one image: a header line and one line per cell, all JSON; always replaced as a whole."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.damaged import keep_damaged
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.json_gate import parse_json, short
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import About, Cell, Progress, ReviewSession, Status, instances_of
from napari_cellseg.review.about import NOTHING
from napari_cellseg.workspace.about_lines import about_of, about_record
from napari_cellseg.workspace.cell_lines import rows_of_cells, sound_cells
from napari_cellseg.workspace.schemas import HeaderLine, sound

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
VERSION = 4
"""Version 1 had no given cells: those of label images were accepted. Version 3 has notes and flags, 4 settlements."""
_NOTED_VERSION = 3
_PLAIN_VERSION = 2
"""The lowest version that holds the content is written, so that earlier programs can read the file."""
_MOST_BYTES = 2**30
_MOST_HEADER_BYTES = 4 * 2**20
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


LabelStamps = Mapping[str, tuple[int, int]]
"""Size in bytes and modification time in ns of each ``class*.tif``, by name, to detect that one was replaced."""


@dataclass(frozen=True)
class ImageSummary:
    """The summary of an image in the image list.

    ``cells`` counts visible cells by class_id; ``progress`` also counts rejected cells; ``saved_at`` is in seconds
    since 1970, None if the image was never saved.
    """

    cells: Mapping[int, int]
    progress: Progress
    saved_at: float | None = None
    about: About = NOTHING
    """The note and flag of the image."""

    @property
    def total(self) -> int:
        """Visible cells of all classes."""
        return sum(self.cells.values())


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """All cells of one image, including rejected and hidden ones, and the minimum scores of the review."""

    image_size: tuple[int, int]
    classes: ClassTable
    cells: tuple[Cell, ...]
    min_scores: Mapping[int, float] = field(default_factory=dict)
    next_id: int = 1
    revision: str = ""
    labels: LabelStamps = field(default_factory=dict)
    about: About = NOTHING
    """The note and flag of the image."""
    problem: str = ""
    """Description of the damaged parts of the file that were left out; empty for an intact file."""

    def shown(self) -> list[Cell]:
        """Return the visible cells by id: no rejected cells, no proposals below a minimum score."""
        cells = sorted(self.cells, key=lambda cell: cell.cell_id)
        return [cell for cell in cells if _is_shown(cell, self.min_scores)]

    def instances(self) -> InstanceMasks:
        """Return the masks of `shown`, in that order."""
        return instances_of(self.shown(), self.image_size)


@dataclass(frozen=True)
class Header:
    """The content of the first line of the file."""

    summary: ImageSummary
    revision: str
    labels: LabelStamps
    about: About = NOTHING


def new_revision() -> str:
    """Return a new name for a state of the annotations; a journal refers to the state it continues."""
    return secrets.token_hex(8)


def cell_lines(cells: Sequence[Cell]) -> list[str]:
    """Return the line of each cell in the file."""
    encode = _ENCODER.encode
    return [encode(row) for row in rows_of_cells(cells)]


def write_annotations(
    path: Path, annotations: Annotations, summary: ImageSummary, lines: Sequence[str] | None = None
) -> None:
    """Replace the file atomically; pass ``lines`` if those of `cell_lines` are known.

    Raises
    ------
    ExportError
        The disk is full, the folder is read-only, ...
    """
    about = about_record(annotations.about)
    header = {
        "format": FORMAT,
        "version": _version_of(annotations),
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
        "given": summary.progress.given,
        **({"about": about} if about else {}),
    }
    if lines is None:
        lines = cell_lines(annotations.cells)
    with export_write(path, keep="never") as file:
        file.write("\n".join((_ENCODER.encode(header), *lines, "")).encode())


def _version_of(annotations: Annotations) -> int:
    if any(cell.settled is not None for cell in annotations.cells):
        return VERSION
    has_notes = bool(annotations.about) or any(cell.is_flagged for cell in annotations.cells)
    return _NOTED_VERSION if has_notes else _PLAIN_VERSION


def read_annotations(path: Path, image_size: tuple[int, int] | None = None) -> Annotations:
    """Read the file; damaged cells and settings are left out, and ``problem`` describes them.

    Parameters
    ----------
    path : Path
    image_size : (int, int), optional
        Height and width of the image, px.

    Raises
    ------
    AnnotationError
        The file is unusable, of a later version, or of an image of another size.
    """
    content = read_bytes(path, most_bytes=_MOST_BYTES)
    first, *lines = content.splitlines() or [b""]
    try:
        header, problems = _header(first, path)
        size = header.image_size or image_size
        if size is None:
            raise AnnotationError("it does not state the size of its image")
        if image_size is not None and size != tuple(image_size):
            raise AnnotationError(
                f"it is for an image of {size}, the image now has {tuple(image_size)} (height, width)"
            )
        rows, wrong = _rows(lines, path)
        cells, wrong_cells = sound_cells(rows, size, PixelBudget(len(content)))
        problems += wrong + wrong_cells
        if header.cells is not None and header.cells != len(lines):
            problems.append(f"it has {len(lines)} cells, but its header states {header.cells}")
        if problems and not cells and header == HeaderLine():
            raise AnnotationError(f"nothing in it can be read ({problems[0]})")
    except AnnotationError as error:
        raise AnnotationError(_cannot_read(path, error)) from error
    highest = max((cell.class_id for cell in cells), default=1)
    return Annotations(
        image_size=size,
        classes=header.classes or ClassTable.numbered(highest),
        cells=tuple(cells),
        min_scores=header.min_scores or {},
        next_id=max(header.next_id or 1, max((cell.cell_id for cell in cells), default=0) + 1),
        revision=header.revision or "",
        labels=header.labels or {},
        about=about_of(header.about),
        problem=keep_damaged(path, content, _told(problems)) if problems else "",
    )


def read_header(path: Path) -> Header:
    """Read only the first line, or the whole file if that line is damaged.

    Raises
    ------
    AnnotationError
        As `read_annotations`.
    """
    try:
        with path.open("rb") as file:
            line, problems = _header(file.readline(_MOST_HEADER_BYTES), path)
    except OSError as error:
        raise AnnotationError(_cannot_read(path, error.strerror or error)) from error
    except AnnotationError as error:
        raise AnnotationError(_cannot_read(path, error)) from error
    if problems or None in (line.shown, line.reviewed, line.reviewable, line.revision):
        whole = read_annotations(path)
        counts = summarise(whole.cells, whole.min_scores, line.saved_at)
        return Header(replace(counts, about=whole.about), whole.revision, whole.labels, whole.about)
    progress = Progress(line.reviewed or 0, line.reviewable or 0, line.given or 0)
    about = about_of(line.about)
    summary = ImageSummary(line.shown or {}, progress, line.saved_at, about)
    return Header(summary, line.revision or "", line.labels or {}, about)


def _header(line: bytes, path: Path) -> tuple[HeaderLine, list[str]]:
    """Return the valid part of the first line, and its problems."""
    try:
        data = parse_json(line, "its first line")
        header, wrong = sound(HeaderLine, data)
    except AnnotationError as error:
        return HeaderLine(), [str(error).rstrip(".")]
    if data.get("format") != FORMAT:
        raise AnnotationError(f"{path.name} is not an annotations file")
    version = data.get("version")
    if type(version) is int and version > VERSION:
        raise AnnotationError("a later version of napari-cellseg wrote it; update to read it")
    if type(version) is not int:
        wrong = (*wrong, f"version = {short(version)}")
    elif version < _PLAIN_VERSION and header.labels:  # its count of reviewed cells includes given ones
        header = header.model_copy(update={"reviewed": None})
    return header, [f"first line: {text}" for text in wrong]


def _rows(lines: Sequence[bytes], path: Path) -> tuple[list[object], list[str]]:
    """Parse the lines, all together if none is damaged."""
    try:
        return parse_json(b"[" + b",".join(lines) + b"]", path), []
    except AnnotationError:
        pass
    rows, problems = [], []
    for number, line in enumerate(lines, start=2):
        try:
            rows.append(parse_json(line, f"line {number}"))
        except AnnotationError as error:
            problems.append(str(error).rstrip("."))
    return rows, problems


def _told(problems: Sequence[str]) -> str:
    more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"{len(problems)} parts of it are left out ({'; '.join(problems[:3])}{more})"


def _cannot_read(path: Path, reason: object) -> str:
    return (
        f"The annotations in {path} cannot be read: {str(reason).rstrip('.')}. Restore an older copy of the file, or"
        " rename it to start again without it."
    )


def summarise(cells: Sequence[Cell], min_scores: Mapping[int, float], saved_at: float | None = None) -> ImageSummary:
    """Count the visible cells."""
    shown: dict[int, int] = {}
    reviewed = rejected = given = 0
    for cell in cells:
        if cell.status is Status.REJECTED:
            rejected += 1
        elif _is_shown(cell, min_scores):
            shown[cell.class_id] = shown.get(cell.class_id, 0) + 1
            reviewed += cell.reviewed
            given += cell.status is Status.GIVEN
    progress = Progress(reviewed + rejected, rejected + sum(shown.values()), given)
    return ImageSummary(dict(sorted(shown.items())), progress, saved_at)


def summary_of(session: ReviewSession) -> ImageSummary:
    """Count the visible cells of a review in constant time."""
    statuses = tuple(status for status in Status if status is not Status.REJECTED)
    shown = {class_id: session.count(class_id, statuses) for class_id in session.classes.class_ids}
    counts = {class_id: number for class_id, number in shown.items() if number}
    return ImageSummary(counts, session.progress, about=session.about)


def _is_shown(cell: Cell, min_scores: Mapping[int, float]) -> bool:
    if cell.status is Status.PROPOSED:
        return cell.score >= min_scores.get(cell.class_id, 0.0)
    return cell.status is not Status.REJECTED

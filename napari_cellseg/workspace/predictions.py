"""What a model found in the images of a folder: stored as proposals, with a log of which image is done."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.json_gate import parse_json
from napari_cellseg.formats.label_images import class_files
from napari_cellseg.images.formats import image_size
from napari_cellseg.images.read import ImageFile
from napari_cellseg.workspace.annotations import ImageSummary
from napari_cellseg.workspace.labels import class_folder
from napari_cellseg.workspace.places import file_errors, journal_file, state_folder
from napari_cellseg.workspace.project import Project
from napari_cellseg.workspace.schemas import LogLine

__all__ = [
    "ImageState",
    "LogEntry",
    "PlannedImage",
    "PredictionLog",
    "plan_images",
    "prediction_key",
]

_MOST_LOG_BYTES = 256 * 2**20
_NOT_OF_THE_RESULT = ("checkpoint", "device", "batch", "precision")


logger = logging.getLogger(__name__)


class ImageState(Enum):
    """How an image stands before a prediction; the value is how to say it."""

    TO_DO = "to do"
    PREDICTED = "predicted"
    REVIEWED = "reviewed"
    UNSAVED = "unsaved edits"


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """The last prediction of one image.

    Attributes
    ----------
    image_id : str
    key : str
        Of model and options, from `prediction_key`.
    model : str
        Its name, for people.
    stamp : (int, int)
        Size in bytes and time of change in ns of the image file.
    cells : int
        Found, at whatever score.
    at : float
        When, seconds since 1970.
    problem : str
        Why it failed; empty when it did not.
    """

    image_id: str
    key: str
    model: str
    stamp: tuple[int, int]
    cells: int = 0
    at: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class PlannedImage:
    """An image and how it stands; ``pixels`` is 0 when its size cannot be read, ``entry`` its last prediction."""

    file: ImageFile
    state: ImageState
    pixels: int
    entry: LogEntry | None


def prediction_key(sha256: str, options: Mapping[str, Any], pixel_size_um: float | None) -> str:
    """Return what tells predictions apart whose results differ: the model's weights and the options that matter.

    Device, precision and the number of tiles at once change the last digits at most, and are left out.
    """
    chosen = {name: value for name, value in options.items() if name not in _NOT_OF_THE_RESULT}
    text = json.dumps([sha256, chosen, pixel_size_um], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PredictionLog:
    """``<folder>/.cellseg/predictions.jsonl``: a line a prediction, the last one of an image counts.

    Lines are only added, each at once and synced, so a killed viewer loses at most the image it was at.
    """

    def __init__(self, folder: Path) -> None:
        self.path = state_folder(folder) / "predictions.jsonl"

    def entries(self) -> dict[str, LogEntry]:
        """Return the last entry of each image; lines that are damaged (cut off by a crash, say) are left out.

        Raises
        ------
        AnnotationError
            The file is far too large.
        """
        if not self.path.is_file():
            return {}
        found, damaged = {}, 0
        content = read_bytes(self.path, most_bytes=_MOST_LOG_BYTES, may_be_empty=True)
        for line in filter(None, content.splitlines()):
            try:
                entry = LogEntry(**LogLine.model_validate(parse_json(line, self.path)).model_dump())
            except (AnnotationError, ValidationError):
                damaged += 1
            else:
                found[entry.image_id] = entry
        if damaged:
            logger.warning("%s: %d damaged lines are left out; their images count as not predicted", self.path, damaged)
        return found

    def add(self, entry: LogEntry) -> None:
        """Add a line.

        Raises
        ------
        ExportError
            The disk is full, the folder is read-only, ...
        """
        line = json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":"))
        with file_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # On a line of its own, also after one that a crash cut off.
                start = b"\n" if file.tell() and not self._ends_with_newline() else b""
                file.write(start + line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def note(self, file: ImageFile, key: str, model: str, cells: int = 0, problem: str = "") -> LogEntry:
        """Add an entry about an image as it is now, and return it."""
        entry = LogEntry(
            image_id=file.image_id,
            key=key,
            model=model,
            stamp=_stamp(file),
            cells=cells,
            at=time.time(),
            problem=problem,
        )
        self.add(entry)
        return entry

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def plan_images(
    project: Project, key: str, now: Mapping[str, ImageSummary | None] | None = None
) -> Generator[None, None, tuple[PlannedImage, ...]]:
    """Look how each image stands; a generator that yields now and then, for a worker.

    Parameters
    ----------
    project : Project
    key : str
        Of the prediction to come.
    now : mapping of image_id to ImageSummary or None, optional
        The images under review, whose journals are in use, and their cells as they are now.

    Raises
    ------
    AnnotationError
        The annotations of an image are damaged.
    """
    now = now or {}
    entries = PredictionLog(project.folder).entries()
    planned = []
    for file in project.images:
        yield None
        entry = entries.get(file.image_id)
        is_open = file.image_id in now
        unsaved = not is_open and journal_file(project.state_folder, file.image_id).exists()
        has_annotations = is_open or project.annotations_file(file.image_id) is not None
        is_done = (
            entry is not None
            and not entry.problem
            and has_annotations
            and (entry.key, entry.stamp) == (key, _stamp(file))
        )
        if unsaved:
            where = ImageState.UNSAVED
        elif is_done:
            where = ImageState.PREDICTED
        else:
            summary = now[file.image_id] if is_open else project.summary(file.image_id)
            where = ImageState.REVIEWED if _is_touched(file, summary) else ImageState.TO_DO
        planned.append(PlannedImage(file, where, _pixels(file), entry))
    return tuple(planned)


def _is_touched(file: ImageFile, summary: ImageSummary | None) -> bool:
    """Whether a person decided about cells of an image, here or in ``class*.tif``."""
    if summary is not None:
        return summary.progress.reviewed > 0
    folder = class_folder(file)
    return folder is not None and bool(class_files(folder))


def _pixels(file: ImageFile) -> int:
    try:
        height, width = image_size(file.path)
    except ImageReadError:  # told when it is its turn
        return 0
    return height * width


def _stamp(file: ImageFile) -> tuple[int, int]:
    try:
        stat = file.path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns

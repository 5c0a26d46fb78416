"""The log of predictions of a folder: which images were predicted by which model, and with what result."""

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
from napari_cellseg.images.formats import image_size, plane_count
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.read import ImageFile
from napari_cellseg.images.slide_levels import is_large
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
_NOT_OF_THE_RESULT = ("checkpoint", "device", "batch", "precision", "runtime")


logger = logging.getLogger(__name__)


class ImageState(Enum):
    """The state of an image before a prediction; the value is its text."""

    TO_DO = "to do"
    PREDICTED = "predicted"
    REVIEWED = "reviewed"
    GIVEN = "with given labels"
    UNSAVED = "unsaved edits"
    SLIDE = "left out"
    """Shown by regions, and predicted tile by tile: not an image that is read as a whole."""


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """The last prediction of one image.

    Attributes
    ----------
    image_id : str
    key : str
        Key of the model and options, from `prediction_key`.
    model : str
        Name of the model, for display.
    stamp : (int, int)
        Size in bytes and modification time in ns of the image file.
    cells : int
        Predicted cells of any score.
    at : float
        Time, seconds since 1970.
    problem : str
        Why the prediction failed; empty if it did not.
    is_saved : bool
        Whether the cells were saved when the entry was written; *Segment* leaves that to the user.
    """

    image_id: str
    key: str
    model: str
    stamp: tuple[int, int]
    cells: int = 0
    at: float = 0.0
    problem: str = ""
    is_saved: bool = True


@dataclass(frozen=True)
class PlannedImage:
    """An image and its state.

    Attributes
    ----------
    file : ImageFile
    state : ImageState
    pixels : int
        Its size; 0 if that cannot be read.
    entry : LogEntry or None
        Its last prediction.
    planes_left_out : int
        Planes of a stack that are not predicted, because no one chose a plane and the first one is read.
    """

    file: ImageFile
    state: ImageState
    pixels: int
    entry: LogEntry | None
    planes_left_out: int = 0


def image_key(key: str, file: ImageFile) -> str:
    """Return the key of the prediction of one image: ``key``, and how the image is read if that was chosen."""
    chosen = {} if file.reading is None else file.reading.model_dump(mode="json", exclude_unset=True)
    if not chosen:
        return key
    return hashlib.sha256(f"{key} {json.dumps(chosen, sort_keys=True)}".encode()).hexdigest()[:16]


def prediction_key(sha256: str, options: Mapping[str, Any], pixel_size_um: float | None) -> str:
    """Return a key of the model's weights and of the options that change the result.

    Device, precision and batch size change the last digits at most, and are left out.
    """
    chosen = {name: value for name, value in options.items() if name not in _NOT_OF_THE_RESULT}
    text = json.dumps([sha256, chosen, pixel_size_um], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PredictionLog:
    """``<folder>/.cellseg/predictions.jsonl``: one line per prediction; the last line of an image counts.

    Lines are only appended, and each is synced, so that a killed viewer loses at most the image in progress.
    """

    def __init__(self, folder: Path) -> None:
        self.path = state_folder(folder) / "predictions.jsonl"

    def entries(self) -> dict[str, LogEntry]:
        """Return the last entry of each image; damaged lines, such as those cut off by a crash, are left out.

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
        """Append an entry.

        Raises
        ------
        ExportError
            The disk is full, the folder is read-only, ...
        """
        line = json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":"))
        with file_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # Starts a new line, also after one that a crash cut off.
                start = b"\n" if file.tell() and not self._ends_with_newline() else b""
                file.write(start + line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def note(
        self, file: ImageFile, key: str, model: str, cells: int = 0, problem: str = "", *, is_saved: bool = True
    ) -> LogEntry:
        """Append and return an entry about an image in its present state, read as its options say."""
        entry = LogEntry(
            image_id=file.image_id,
            key=image_key(key, file),
            model=model,
            stamp=_stamp(file),
            cells=cells,
            at=time.time(),
            problem=problem,
            is_saved=is_saved,
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
    """Return the state of each image; a generator for a worker that yields periodically.

    Parameters
    ----------
    project : Project
    key : str
        Key of the next prediction.
    now : mapping of image_id to ImageSummary or None, optional
        The images under review, whose journals are in use, with the summary of their present cells.

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
        has_annotations = is_open or _was_saved(project.annotations_file(file.image_id), entry)
        is_done = (
            entry is not None
            and not entry.problem
            and has_annotations
            and (entry.key, entry.stamp) == (image_key(key, file), _stamp(file))
        )
        if unsaved:
            where = ImageState.UNSAVED
        elif is_done:
            where = ImageState.PREDICTED
        else:
            summary = now[file.image_id] if is_open else project.summary(file.image_id)
            where = _decided(file, summary)
            if where is ImageState.TO_DO and not is_open and _is_slide(file):
                where = ImageState.SLIDE
        planned.append(PlannedImage(file, where, _pixels(file), entry, _planes_left_out(file)))
    return tuple(planned)


def _was_saved(path: Path | None, entry: LogEntry | None) -> bool:
    """Return whether there are annotations of an image, saved after the prediction of ``entry``."""
    return path is not None and (entry is None or entry.is_saved or path.stat().st_mtime >= entry.at)


def _decided(file: ImageFile, summary: ImageSummary | None) -> ImageState:
    """Return whether the user decided about cells of an image, or gave labels in ``class*.tif``."""
    if summary is not None and summary.progress.reviewed:
        return ImageState.REVIEWED
    if summary is not None:
        return ImageState.GIVEN if summary.progress.given else ImageState.TO_DO
    folder = class_folder(file)
    return ImageState.GIVEN if folder is not None and class_files(folder) else ImageState.TO_DO


def _is_slide(file: ImageFile) -> bool:
    try:
        return file.plane is None and is_large(file.path, file.reading or ReadOptions())
    except ImageReadError:  # reported when the image is predicted
        return False


def _pixels(file: ImageFile) -> int:
    try:
        height, width = image_size(file.path)
    except ImageReadError:  # reported when the image is predicted
        return 0
    return height * width


def _planes_left_out(file: ImageFile) -> int:
    if file.plane is not None or (file.reading is not None and file.reading.plane is not None):
        return 0
    try:
        return plane_count(file.path, file.reading) - 1
    except ImageReadError:  # reported when the image is predicted
        return 0


def _stamp(file: ImageFile) -> tuple[int, int]:
    try:
        stat = file.path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns

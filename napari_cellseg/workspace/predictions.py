"""What a model found in the images of a folder: stored as proposals, with a log of which image is done."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_cellseg.errors import AnnotationError, ImageReadError
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.json_gate import parse_json
from napari_cellseg.formats.label_images import class_files
from napari_cellseg.images.read import ImageFile, read_size
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace.annotations import (
    Annotations,
    ImageSummary,
    new_revision,
    read_annotations,
    summarise,
    write_annotations,
)
from napari_cellseg.workspace.folder import Workspace
from napari_cellseg.workspace.labels import annotations_from_labels, class_folder, label_stamps, long_enough
from napari_cellseg.workspace.places import annotations_file, file_errors, journal_file, state_folder
from napari_cellseg.workspace.schemas import LogLine

__all__ = [
    "ImageState",
    "LogEntry",
    "PlannedImage",
    "PredictionLog",
    "plan_images",
    "prediction_key",
    "store_proposals",
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


@dataclass(frozen=True)
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
        entry = LogEntry(file.image_id, key, model, _stamp(file), cells, time.time(), problem)
        self.add(entry)
        return entry

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def plan_images(
    images: Iterable[ImageFile],
    folder: Path,
    key: str,
    summary_of: Callable[[str], ImageSummary | None],
    *,
    open_image: str | None = None,
) -> Generator[None, None, tuple[PlannedImage, ...]]:
    """Look how each image stands; a generator that yields now and then, for a worker.

    Parameters
    ----------
    images : iterable of ImageFile
    folder : Path
        The folder of the project.
    key : str
        Of the prediction to come.
    summary_of : callable
        Gives the summary of an image, as `Workspace.summary`.
    open_image : str, optional
        The image under review here, whose journal is in use.
    """
    state = state_folder(folder)
    entries = PredictionLog(folder).entries()
    planned = []
    for file in images:
        yield None
        entry = entries.get(file.image_id)
        unsaved = file.image_id != open_image and journal_file(state, file.image_id).exists()
        has_annotations = annotations_file(state, file.image_id).exists() or file.image_id == open_image
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
            where = ImageState.REVIEWED if _is_touched(file, summary_of(file.image_id)) else ImageState.TO_DO
        planned.append(PlannedImage(file, where, _pixels(file), entry))
    return tuple(planned)


def store_proposals(
    workspace: Workspace, image_id: str, cells: InstanceMasks, by: str, min_scores: Mapping[int, float]
) -> bool:
    """Put what a model found into an image, open or not; what a person decided stays.

    For an image that is not open this may be called from any thread, one call at a time.

    Returns
    -------
    bool
        Whether it is saved. An open image with edits that are not saved gets the proposals and stays unsaved: whether
        to save the edits is the person's to say.

    Raises
    ------
    AnnotationError
        The cells do not fit the image or its classes, or the image has edits of a viewer that ended without saving.
    ExportError
        They cannot be written.
    """
    if not workspace.is_open(image_id):
        _write_proposals(workspace, image_id, cells, by, min_scores)
        return True
    was_modified = workspace.is_modified(image_id)
    workspace.open_session(image_id, cells.image_size).load_proposals(cells, by)
    if not was_modified:
        workspace.save(image_id)
    return not was_modified


def _write_proposals(
    workspace: Workspace, image_id: str, cells: InstanceMasks, by: str, min_scores: Mapping[int, float]
) -> None:
    workspace.check_writable()
    if workspace.recoverable(image_id) is not None:
        raise AnnotationError(f"{image_id} has edits that were never saved; open it, and bring them back or not.")
    file, path = workspace.file(image_id), annotations_file(workspace.state_folder, image_id)
    size = cells.image_size
    base = read_annotations(path, size) if path.exists() else annotations_from_labels(file, size, workspace.classes)
    assert base is not None, "the size is known"
    table = long_enough(workspace.classes or base.classes, base.classes, base.cells)
    session = ReviewSession(size, table, base.cells, user=workspace.user, next_id=base.next_id)
    session.set_min_scores(min_scores)
    session.load_proposals(cells, by)
    kept = tuple(session.cells.values())
    found = Annotations(
        size, table, kept, dict(session.min_scores), session.next_id, new_revision(), label_stamps(file)
    )
    with file_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_annotations(path, found, summarise(kept, found.min_scores, time.time()))


def _is_touched(file: ImageFile, summary: ImageSummary | None) -> bool:
    """Whether a person decided about cells of an image, here or in ``class*.tif``."""
    if summary is not None:
        return summary.progress.reviewed > 0
    folder = class_folder(file)
    return folder is not None and bool(class_files(folder))


def _pixels(file: ImageFile) -> int:
    try:
        height, width = read_size(file.path)
    except ImageReadError:  # told when it is its turn
        return 0
    return height * width


def _stamp(file: ImageFile) -> tuple[int, int]:
    try:
        stat = file.path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns

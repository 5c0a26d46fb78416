"""The run folders of a data set: a new one for each run, and those that can be resumed."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import AnnotationError, TrainingError
from napari_cellseg.formats.json_gate import parse_json, read_json
from training.run_folder import RunFolder
from training.sources import TrainData

__all__ = ["LoggedLine", "PastRun", "forget", "logged_lines", "new_run_folder", "run_name", "unfinished"]

_NOTE = "viewer.json"
_TAIL = 8192
_MOST_NOTE_BYTES = 2**20


class LoggedLine(BaseModel):
    """The fields of a line of ``events.jsonl`` that are needed here; other fields are ignored."""

    event: str
    time: float = Field(ge=0, le=2**35, allow_inf_nan=False)
    epoch: int | None = Field(None, ge=0, le=10**9)
    first_epoch: int | None = Field(None, ge=0, le=10**9)
    epochs: int | None = Field(None, ge=0, le=10**9)


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run that has not finished.

    Attributes
    ----------
    folder : Path
        The run folder.
    data : Path
        Its training data.
    epoch, epochs : int
        The epoch in which it stopped, and its maximum length.
    stopped_at : float
        Seconds since 1970.
    """

    folder: Path
    data: Path
    epoch: int
    epochs: int
    stopped_at: float

    def __str__(self) -> str:
        """Return "epoch 3 of 150, stopped 2026-11-22 23:05"."""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.stopped_at))
        return f"epoch {self.epoch} of {self.epochs}, stopped {when}"


def new_run_folder(data: TrainData, preset: str) -> Path:
    """Make a run folder named after data, preset and time, and store the path of the data in it.

    Raises
    ------
    TrainingError
        The folder cannot be made.
    """
    base = run_name(data, preset)
    names = (base if i == 1 else f"{base}-{i}" for i in range(1, 1000))
    folder = next(path for path in (data.runs / name for name in names) if not path.exists())
    try:
        folder.mkdir(parents=True)
        _write_note(folder, {"data": str(data.path)})
    except OSError as error:
        raise TrainingError(f"The run folder {folder} cannot be created: {error.strerror or error}.") from error
    return folder


def run_name(data: TrainData, preset: str) -> str:
    """Return the name of a run, and of its model, that starts now."""
    name = re.sub(r"[^\w.-]+", "_", data.home.resolve().name) or "data"
    return f"{name}-{preset}-{time.strftime('%Y%m%d-%H%M%S')}"


def unfinished(runs: Path) -> PastRun | None:
    """Return the newest run that stopped or died before its end and is not training now; None without one."""
    try:
        folders = sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:  # no run yet
        return None
    return next((run for run in map(_look_at, folders) if run is not None), None)


def forget(run: PastRun) -> None:
    """Hide a run; its files are kept."""
    with suppress(OSError):
        _write_note(run.folder, {**_read_note(run.folder), "forgotten": True})


def _look_at(folder: Path) -> PastRun | None:
    files = RunFolder(folder)
    note = _read_note(folder)
    data = note.get("data")
    if type(data) is not str or "\0" in data or note.get("forgotten"):
        return None
    if not (files.last.exists() and files.config.exists()):
        return None
    first, last = logged_lines(files.events)
    started = next((line for line in (*reversed(last), *reversed(first)) if line.event == "RunStarted"), None)
    if started is None or not last or last[-1].event == "RunFinished":
        return None
    epoch = next((line.epoch for line in reversed(last) if line.epoch is not None), started.first_epoch)
    try:
        with files:  # no other process is training in it
            return PastRun(
                folder=folder, data=Path(data), epoch=epoch or 0, epochs=started.epochs or 0, stopped_at=last[-1].time
            )
    except TrainingError:
        return None


def logged_lines(path: Path) -> tuple[list[LoggedLine], list[LoggedLine]]:
    """Return the first and the last lines of an event log, which may be long, without damaged lines."""
    try:
        if not path.is_file():
            return [], []
        with path.open("rb") as file:
            first = file.read(8 * _TAIL)
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            last = file.read()
    except OSError:
        return [], []
    return _lines(first), _lines(last)


def _lines(text: bytes) -> list[LoggedLine]:
    """Return the JSON lines of a part of a file, without the lines cut off at its ends."""
    found = []
    for line in text.splitlines():
        with suppress(AnnotationError, ValidationError):
            found.append(LoggedLine.model_validate(parse_json(line, "the line")))
    return found


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note = read_json(folder / _NOTE, most_bytes=_MOST_NOTE_BYTES)
    except AnnotationError:  # missing or damaged: the run was not started in the viewer
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(folder: Path, note: dict[str, Any]) -> None:
    with export_write(folder / _NOTE, error=TrainingError) as file:
        file.write(json.dumps(note, ensure_ascii=False).encode())

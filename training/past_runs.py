"""The run folders of a data set: a new one for each run, and those that can go on."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import TrainingError
from training.run_folder import RunFolder
from training.sources import TrainData

__all__ = ["PastRun", "forget", "new_run_folder", "run_name", "unfinished"]

_NOTE = "viewer.json"
_TAIL = 8192


@dataclass(frozen=True)
class PastRun:
    """A run that did not come to its end.

    Attributes
    ----------
    folder : Path
        The run folder.
    data : Path
        What it learnt from.
    epoch, epochs : int
        Where it stopped, and its longest length.
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
    """Make a run folder named after data, preset and time, and note in it what the data are.

    Raises
    ------
    TrainingError
        It cannot be made.
    """
    base = run_name(data, preset)
    names = (base if i == 1 else f"{base}-{i}" for i in range(1, 1000))
    folder = next(path for path in (data.runs / name for name in names) if not path.exists())
    try:
        folder.mkdir(parents=True)
        _write_note(folder, {"data": str(data.path)})
    except OSError as error:
        raise TrainingError(f"The run folder {folder} cannot be made: {error.strerror or error}.") from error
    return folder


def run_name(data: TrainData, preset: str) -> str:
    """Return what a run that begins now would be called, and with it its model."""
    name = re.sub(r"[^\w.-]+", "_", data.home.resolve().name) or "data"
    return f"{name}-{preset}-{time.strftime('%Y%m%d-%H%M%S')}"


def unfinished(runs: Path) -> PastRun | None:
    """Return the newest run that stopped or died before its end and nobody is training now; None without one."""
    try:
        folders = sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:  # there was no run yet
        return None
    return next((run for run in map(_look_at, folders) if run is not None), None)


def forget(run: PastRun) -> None:
    """Offer a run no more; its files stay."""
    with suppress(OSError):
        _write_note(run.folder, {**_read_note(run.folder), "forgotten": True})


def _look_at(folder: Path) -> PastRun | None:
    files = RunFolder(folder)
    note = _read_note(folder)
    if "data" not in note or note.get("forgotten") or not (files.last.exists() and files.config.exists()):
        return None
    first, last = _logged(files.events)
    started = next((line for line in (*reversed(last), *reversed(first)) if line.get("event") == "RunStarted"), None)
    if started is None or any(line.get("event") == "RunFinished" for line in last[-1:]):
        return None
    try:
        with files:  # nobody else is at it
            epoch = next((line["epoch"] for line in reversed(last) if "epoch" in line), started["first_epoch"])
            when = last[-1]["time"]
            return PastRun(folder, Path(note["data"]), int(epoch), int(started["epochs"]), float(when))
    except (TrainingError, LookupError, TypeError, ValueError):
        return None


def _logged(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the first and the last lines of an event log, which may be long."""
    try:
        with path.open("rb") as file:
            first = file.read(8 * _TAIL)
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            last = file.read()
    except OSError:
        return [], []
    return _lines(first), _lines(last)


def _lines(text: bytes) -> list[dict[str, Any]]:
    """Return the JSON lines of a part of a file; the cut ones at its ends are left out."""
    found = []
    for line in text.splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / _NOTE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(folder: Path, note: dict[str, Any]) -> None:
    with export_write(folder / _NOTE, error=TrainingError) as file:
        file.write(json.dumps(note, ensure_ascii=False).encode())

"""The folder of one training run: its files, and the lock that lets one process write.

::

    RUN/config.yaml        every setting
        split.json         which images trained, which validated
        metrics.csv        one row per epoch
        events.jsonl       one JSON line per event; a run that resumes after a kill removes the steps that it repeats
        best.safetensors   the model of the best epoch
        last.pt            the state to resume
        losses.png, average_precision.png
        examples/          predictions on validation images, at each validation
        tensorboard/       only when the package tensorboard is installed
        mlflow_run_id.txt  only when MLFLOW_TRACKING_URI is set
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from napari_cellseg.atomic import export_write, remove_abandoned, write_errors
from napari_cellseg.errors import TrainingError
from napari_cellseg.formats.damaged import keep_damaged
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.written import note_own
from training.config import TrainConfig

__all__ = ["RunFolder"]

_MOST_TABLE_BYTES = 256 * 2**20
_MOST_EPOCHS = 10**9

Row = dict[str, float]
Event = TypeVar("Event")
Result = TypeVar("Result")


class RunFolder:
    """The files of one run; a ``with`` block locks the folder.

    Parameters
    ----------
    path : Path
        The folder; created when missing.
    writes : bool
        False on the other processes of a run on several devices: they share the folder, but neither lock nor write.

    Raises
    ------
    TrainingError
        On entering: another process is training in this folder, or the folder cannot be created.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = Path(path)
        self.writes = writes
        # The lock belongs to the open file, so the system frees it whenever the process dies.
        self._logged: object = None
        self._lock = FileLock(self.path / ".lock")

    @property
    def config(self) -> Path:
        """Settings, YAML."""
        return self.path / "config.yaml"

    @property
    def split(self) -> Path:
        """Ids of the training and validation images, JSON."""
        return self.path / "split.json"

    @property
    def metrics(self) -> Path:
        """One row per epoch, CSV."""
        return self.path / "metrics.csv"

    @property
    def events(self) -> Path:
        """One JSON line per event."""
        return self.path / "events.jsonl"

    @property
    def best(self) -> Path:
        """The model of the best epoch."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The state to resume."""
        return self.path / "last.pt"

    @property
    def examples(self) -> Path:
        """Folder of example predictions."""
        return self.path / "examples"

    def __enter__(self) -> RunFolder:
        if not self.writes:
            return self
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise TrainingError(
                f"Another process is training in {self.path}. Wait for it or stop it, or choose another folder."
            ) from None
        except OSError as error:
            raise TrainingError(f"The run folder {self.path} cannot be used: {error.strerror or error}.") from error
        remove_abandoned(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self.writes:
            self._lock.release()

    def start(self, config: TrainConfig) -> None:
        """Check that the folder holds no earlier run, and write the settings.

        Raises
        ------
        TrainingError
            The folder already holds a run.
        """
        taken = [file.name for file in (self.last, self.best, self.metrics) if file.exists()]
        if taken:
            raise TrainingError(
                f"{self.path} already holds a run ({taken[0]}). Resume it (--resume), or choose a new folder."
            )
        self.write(self.config, config.to_yaml())

    def resume(self) -> None:
        """Treat the files of the run as the program's own, even if another computer wrote them."""
        if self.writes:
            for path in (self.config, self.split, self.metrics, self.best, self.last):
                note_own(path)

    def write(self, path: Path, text: str) -> None:
        """Replace a text file; does nothing where this process does not write."""
        if self.writes:
            with export_write(path, error=TrainingError) as file:
                file.write(text.encode())

    def log(self, event: object) -> None:
        """Add an event to events.jsonl, unless it repeats the last one."""
        if self.writes and event != self._logged:
            self._logged = event
            line = {"event": type(event).__name__, "time": round(time.time(), 3), **_plain(event)}
            with write_errors(self.events, TrainingError), self.events.open("ab") as file:
                # On a new line, even after a line that a kill or a full disk cut off.
                start = b"\n" if file.tell() and not _ends_with_newline(self.events) else b""
                file.write(start + json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def logged(self, events: Generator[Event, None, Result]) -> Generator[Event, None, Result]:
        """Write each event to events.jsonl, then yield it; closing this generator closes ``events``."""
        try:
            while True:
                event = next(events)
                self.log(event)
                yield event
        except StopIteration as stop:
            result: Result = stop.value
            return result
        finally:
            events.close()

    def read_metrics(self, before_epoch: int | None = None) -> list[Row]:
        """Return the rows of metrics.csv for epochs below ``before_epoch``, without missing values.

        Rows that contain anything but numbers are left out, and the file is then kept under another name.

        Raises
        ------
        TrainingError
            The file cannot be read, or is damaged and cannot be kept.
        """
        if not self.metrics.exists():
            return []
        content = read_bytes(self.metrics, most_bytes=_MOST_TABLE_BYTES, error=TrainingError, may_be_empty=True)
        rows, damaged = _sound_rows(content)
        if damaged:
            keep_damaged(self.metrics, content, f"{damaged} of its rows are left out", TrainingError)
        return [row for row in rows if before_epoch is None or row["epoch"] < before_epoch]

    def write_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replace metrics.csv; the columns are all names in order of appearance, missing values are empty."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(row.get(name, math.nan)) for name in names] for row in rows)
        self.write(self.metrics, text.getvalue())


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, io.SEEK_END)
        return file.read(1) == b"\n"


def _sound_rows(content: bytes) -> tuple[list[Row], int]:
    """Return the rows of numbers that have an epoch, and the number of other rows."""
    rows: list[Row] = []
    damaged = 0
    table = csv.DictReader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
    while True:
        try:
            texts = next(table)
            row = {name: float(text) for name, text in texts.items() if text}
        except StopIteration:
            return rows, damaged
        except (ValueError, TypeError, csv.Error):
            damaged += 1
            continue
        if 0 <= row.get("epoch", -1) < _MOST_EPOCHS:
            rows.append(row)
        else:
            damaged += 1


def _cell(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _plain(value: Any) -> Any:
    """Turn an event into JSON values: paths and enums as text, NaN as null."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value if isinstance(value, (int, str, bool)) or value is None else str(value)

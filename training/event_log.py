"""`drop_repeated`: removes from events.jsonl what a killed run repeats when it resumes from an earlier state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import TrainingError
from napari_cellseg.written import note_own

__all__ = ["drop_repeated"]


def drop_repeated(path: Path, epoch: int, epoch_step: int) -> int:
    """Remove the steps, validations and epochs that the resumed run repeats from a log; return how many lines.

    Messages and starts of runs are kept: they are not repeated.

    Parameters
    ----------
    path : Path
        events.jsonl; may be missing.
    epoch : int
        The epoch at which the run resumes, 1-based.
    epoch_step : int
        Optimiser steps of that epoch that the resume state includes.

    Raises
    ------
    TrainingError
        The log cannot be read or replaced.
    """
    if not path.exists():
        return 0
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise TrainingError(f"Cannot read {path}: {error.strerror or error}. Check the disk, then resume.") from error
    kept = [line for line in lines if not _is_repeated(line, epoch, epoch_step)]
    if len(kept) < len(lines):
        note_own(path)
        with export_write(path, error=TrainingError) as file:
            file.writelines(kept)
    return len(lines) - len(kept)


def _is_repeated(line: bytes, epoch: int, epoch_step: int) -> bool:
    try:
        event: Any = json.loads(line)
        place = (int(event["epoch"]), int(event.get("step", 0)))
        name = event["event"]
    except (ValueError, TypeError, KeyError, RecursionError):  # not an event of an epoch, or a line that a kill cut off
        return False
    if name == "StepDone":
        return place > (epoch, epoch_step)
    return name in ("ValidationStep", "EpochDone") and place[0] >= epoch

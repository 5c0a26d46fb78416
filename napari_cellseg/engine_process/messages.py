"""The messages between the two processes."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_cellseg.errors import CellSegError, EngineError, is_out_of_memory

__all__ = [
    "Began",
    "Event",
    "Failed",
    "Pause",
    "Resume",
    "Returned",
    "Run",
    "Stop",
    "Stopped",
    "to_cellseg_error",
]


@dataclass(frozen=True)
class Run:
    """To the engine: run a task of the table."""

    run_id: int
    task: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Pause:
    """To the engine: pause the generator of this run at its next event."""

    run_id: int


@dataclass(frozen=True)
class Resume:
    """To the engine: resume a paused run."""

    run_id: int


@dataclass(frozen=True)
class Stop:
    """To the engine: close the generators of this run and of all earlier runs at their next event."""

    run_id: int


@dataclass(frozen=True)
class Began:
    """From the engine: everything is imported, and the generator is about to start."""

    run_id: int


@dataclass(frozen=True)
class Event:
    """From the engine: an event that the generator yielded."""

    run_id: int
    event: Any


@dataclass(frozen=True)
class Returned:
    """From the engine: the value that the generator returned."""

    run_id: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """From the engine: the exception that the generator raised.

    ``is_spent``: memory ran out, and the process should be replaced. Native libraries do not always recover: oneDNN,
    for example, could not create some convolutions even after memory was free again.
    """

    run_id: int
    error: CellSegError
    is_spent: bool = False


@dataclass(frozen=True)
class Stopped:
    """From the engine: the generator was closed, and cleaned up."""

    run_id: int


def to_cellseg_error(error: BaseException) -> CellSegError:
    """Convert any exception to one with a message for the user, and its traceback as ``details``.

    A `CellSegError` is unchanged. A lack of memory or disk space gets a message that says what to do; any other
    exception becomes an `EngineError` with its text.
    """
    if isinstance(error, CellSegError):
        named = error
    else:
        named = EngineError(_out_of_something(error) or f"The engine failed: {type(error).__name__}: {error}")
    if not named.details:
        named.details = "".join(traceback.format_exception(error))
    return named


_QUOTA = getattr(errno, "EDQUOT", errno.ENOSPC)  # an error number that Windows lacks


def _out_of_something(error: BaseException) -> str | None:
    if type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in str(error):
        return "The GPU does not have enough free memory for this. Choose a smaller tile or crop, or the CPU."
    if is_out_of_memory(error):
        return "There is not enough free memory for this. Choose a smaller tile, crop or memory budget."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, _QUOTA):
        where = f" ({error.filename})" if error.filename else ""
        return f"The disk is full{where}. Free some space, then run again."
    return None

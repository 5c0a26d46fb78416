"""Messages between the viewer's process and the engine process: length-prefixed pickles over pipes.

Arrays do not go through the pipe: a pipe transfers 64 KiB at a time, and each piece waits for the GIL that the window
holds. Instead, the buffers of pickle protocol 5 are written to a file in shared memory, which the receiver reads in one
call and deletes. `multiprocessing.shared_memory` is not used because it ends the process with SIGBUS if the shared
memory is too small (64 MiB in a default container), and because its resource tracker deletes, or warns about, blocks
that the other side still needs. A file raises an `OSError`, and then the arrays go through the pipe after all.
"""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Reader", "Writer", "make_exchange_folder", "read_message", "remove_abandoned_folders", "write_message"]

SMALLEST_SHARED = 1 << 16
"""From this size of a message's arrays, bytes, a file is faster than the pipe."""

_HEADER = struct.Struct("<Q")
_PREFIX = "napari-cellseg-"


class Reader(Protocol):
    """The reading end of a pipe."""

    def readinto(self, buffer: Any, /) -> int | None: ...  # noqa: D102


class Writer(Protocol):
    """The writing end of a pipe."""

    def write(self, data: Any, /) -> int | None: ...  # noqa: D102


def make_exchange_folder() -> Path:
    """Create a private folder for arrays in transit, in shared memory if the system has it.

    Its name starts with this process's id, so that `remove_abandoned_folders` can identify its owner.
    """
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_shared_memory()))


def remove_abandoned_folders() -> None:
    """Remove the folders of processes that have ended, such as a viewer and its engine that were killed together."""
    for folder in Path(_shared_memory() or tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def write_message(pipe: Writer, message: object, exchange: Path, number: int) -> None:
    """Send one object.

    Parameters
    ----------
    pipe : binary file, unbuffered
    message : object
        Any object that can be pickled.
    exchange : path
        The folder that both sides share.
    number : int
        Distinct for each message of this sender and folder.

    Raises
    ------
    OSError
        The other side has ended.
    """
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    file = exchange / f"{os.getpid()}-{number}"
    if sum(view.nbytes for view in views) >= SMALLEST_SHARED and _write_buffers(file, views):
        envelope = pickle.dumps((body, file.name, [view.nbytes for view in views]))
    else:
        envelope = pickle.dumps((body, None, [bytes(view) for view in views]))
    _write_all(pipe, _HEADER.pack(len(envelope)) + envelope)


def read_message(pipe: Reader, exchange: Path) -> Any:
    """Receive one object; the arrays in it are writable and belong to the caller.

    Raises
    ------
    EOFError
        The other side closed the pipe, or has ended.
    """
    (length,) = _HEADER.unpack(_read_all(pipe, _HEADER.size))
    body, name, buffers = pickle.loads(_read_all(pipe, length))
    if name is None:
        return pickle.loads(body, buffers=[bytearray(buffer) for buffer in buffers])
    file = exchange / name
    with file.open("rb", buffering=0) as shared:
        arrays = [_read_all(shared, size) for size in buffers]
    file.unlink()
    return pickle.loads(body, buffers=arrays)


def _write_buffers(file: Path, views: list[memoryview]) -> bool:
    try:
        with file.open("xb", buffering=0) as shared:
            for view in views:
                _write_all(shared, view)
    except OSError:  # no space left there
        file.unlink(missing_ok=True)
        return False
    return True


def _write_all(pipe: Writer, data: bytes | memoryview) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[pipe.write(view) or 0 :]


def _read_all(pipe: Reader, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = pipe.readinto(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def _shared_memory() -> str | None:
    folder = "/dev/shm"  # Linux; elsewhere the default folder for temporary files, which the system caches
    return folder if os.access(folder, os.W_OK) else None


def _is_running(process_id: int) -> bool:
    import psutil  # imported here because it is needed only once per start

    return psutil.pid_exists(process_id)

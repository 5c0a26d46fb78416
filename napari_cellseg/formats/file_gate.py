"""Reads the bytes of a file after checking that it is a regular file of a plausible size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from napari_cellseg.errors import AnnotationError, CellSegError

__all__ = ["read_bytes"]


def read_bytes(
    path: str | os.PathLike[str],
    *,
    most_bytes: int,
    error: type[CellSegError] = AnnotationError,
    may_be_empty: bool = False,
) -> bytes:
    """Read a file as a whole.

    Parameters
    ----------
    path : path
    most_bytes : int
        A larger file is refused before it is read.
    error : type of CellSegError
        Type of the error to raise.
    may_be_empty : bool
        Return ``b""`` for an empty file.

    Raises
    ------
    CellSegError
        Of the given type: the file does not exist, is a folder or device, is empty or too large, or cannot be read.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise error(f"Cannot read {path}: it is a folder, not a file.")
        if not stat.S_ISREG(status.st_mode):
            raise error(f"Cannot read {path}: it is a device, pipe or socket, not a file.")
        if not status.st_size and not may_be_empty:
            raise error(f"Cannot read {path}: the file is empty. Copy it again, or remove it.")
        if status.st_size > most_bytes:
            raise error(f"Cannot read {path}: it has {_size(status.st_size)}; the limit is {_size(most_bytes)}.")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError as reason:
        raise error(f"Cannot read {path}: there is no such file.") from reason
    except (OSError, ValueError) as reason:  # ValueError: a null character in the path
        raise error(f"Cannot read {path}: {getattr(reason, 'strerror', None) or reason}.") from reason
    except MemoryError as reason:
        raise error(f"Cannot read {path}: there is not enough memory for its {_size(status.st_size)}.") from reason
    if len(content) > most_bytes:  # the file grew meanwhile
        raise error(f"Cannot read {path}: it has more than {_size(most_bytes)}.")
    return content


def _size(count: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("kB", 1000)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"

"""Opens the SQLite file of a `CellStore`: connections that are closed after errors, and one writer at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from napari_cellseg.atomic import write_errors
from napari_cellseg.errors import ExportError
from napari_cellseg.formats.writer_lock import WriterLock

__all__ = ["HEADER", "VERSION_AND_KIND", "closed_if_it_fails", "connected", "is_blank", "locked"]

_APPLICATION_ID = 0x6E636353  # "nccS", in the header of the file
_VERSION = 1
VERSION_AND_KIND = _APPLICATION_ID, _VERSION
HEADER = (f"PRAGMA application_id = {_APPLICATION_ID}", f"PRAGMA user_version = {_VERSION}")
"""Statements that mark a file."""


def connected(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Connect; who writes holds a lock of its own, so that others can read meanwhile."""
    if read_only:
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", timeout=1.0, uri=True)
    database = sqlite3.connect(path, timeout=1.0)
    for setting in ("synchronous = NORMAL", "temp_store = FILE"):
        database.execute(f"PRAGMA {setting}")
    return database


def locked(path: Path) -> WriterLock:
    """Take the lock of the process that writes a file.

    Raises
    ------
    ExportError
        Another process has it, or the folder cannot be written.
    """
    lock = WriterLock(path)
    with write_errors(path):
        is_free = lock.acquire()
    if not is_free:
        raise ExportError(f"{path} is open in another process. Wait until its run ends, or choose another folder.")
    return lock


@contextmanager
def closed_if_it_fails(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Close a connection after an error; else the file would stay open in this process."""
    try:
        yield database
    except BaseException:
        database.close()
        raise


def is_blank(path: Path) -> bool:
    """Return whether a file holds nothing, because a run was killed while it made the file."""
    try:
        with closing(connected(path)) as database:
            (application_id,) = database.execute("PRAGMA application_id").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return not application_id and not tables

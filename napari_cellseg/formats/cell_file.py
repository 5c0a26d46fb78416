"""Opens the SQLite file of a `CellStore`, one writer at a time, and sets such a file aside with what its log holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from napari_cellseg.atomic import set_aside, write_errors
from napari_cellseg.errors import ExportError
from napari_cellseg.formats.writer_lock import WriterLock

__all__ = ["HEADER", "VERSION_AND_KIND", "closed_if_it_fails", "connected", "is_blank", "locked", "set_database_aside"]

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


def set_database_aside(path: Path, kept: Path | None = None) -> Path | None:
    """Rename an SQLite file with all that is committed in it; return its new path, None if it is gone.

    The log of a file that was not closed, or that another connection reads, has a name of its own: it is first written
    into the file. What cannot be written is renamed with the file, so that SQLite finds it.

    Parameters
    ----------
    path : Path
    kept : Path, optional
        The new path; otherwise the first free one, as in `atomic.set_aside`.

    Raises
    ------
    OSError
        As the file system raises it.
    """
    address = f"{path.resolve().as_uri()}?mode=rw"  # makes no file
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, timeout=1.0, uri=True)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        database.execute("PRAGMA journal_mode = DELETE").fetchall()  # fails while another connection reads
    kept = set_aside(path) if kept is None else path.rename(kept)
    for suffix in ("-wal", "-journal"):
        log = Path(f"{path}{suffix}")
        if kept is not None and log.is_file() and log.stat().st_size:
            log.replace(f"{kept}{suffix}")
    for suffix in ("-wal", "-shm", "-journal"):
        with suppress(OSError):
            Path(f"{path}{suffix}").unlink()
    return kept

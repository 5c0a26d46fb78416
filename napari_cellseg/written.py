"""The list of files that the program wrote and that were not changed since.

One small SQLite file per user and computer holds, for each path, the size, modification time and inode of the file when
the program wrote it. A file that is not in the list, or no longer matches it, counts as foreign. An unusable list
therefore means more backups, never fewer.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import platformdirs

__all__ = ["forget", "is_own", "note_own"]

_LARGEST = 200_000
"""Largest number of rows; the oldest are dropped, so that the list stays below about 30 MB."""

log = logging.getLogger(__name__)


def is_own(path: Path) -> bool:
    """Return whether the file is unchanged since the program wrote it; False if unknown."""
    try:
        stamp = _stamp(path)
        with _list() as rows:
            found = rows.execute("SELECT size, changed_ns, inode FROM written WHERE path = ?", (_key(path),)).fetchone()
    except (OSError, sqlite3.Error) as error:
        log.debug("The list of written files cannot be used: %s", error)
        return False
    return bool(found == stamp)


def note_own(path: Path) -> None:
    """Record the file in its present state as the program's own."""
    with suppress(OSError, sqlite3.Error):
        stamp = _stamp(path)
        with _list() as rows:
            rows.execute("INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?)", (_key(path), *stamp))
            rows.execute("DELETE FROM written WHERE rowid <= (SELECT MAX(rowid) FROM written) - ?", (_LARGEST,))


def forget(path: Path) -> None:
    """Remove a deleted file from the list."""
    with suppress(OSError, sqlite3.Error), _list() as rows:
        rows.execute("DELETE FROM written WHERE path = ?", (_key(path),))


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    # SQLite's integers are signed; Windows has inodes of 64 bits or more.
    return status.st_size, status.st_mtime_ns, status.st_ino & 0x7FFF_FFFF_FFFF_FFFF


def _key(path: Path) -> str:
    return str(path.parent.resolve() / path.name)


@contextmanager
def _list() -> Iterator[sqlite3.Connection]:
    folder = Path(platformdirs.user_state_dir("napari-cellseg"))
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "written.sqlite", timeout=2.0)) as connection:
        connection.execute(
            "PRAGMA synchronous = OFF"
        )  # a list damaged by a power cut costs extra backups, never a file
        connection.execute(
            "CREATE TABLE IF NOT EXISTS written "
            "(path TEXT PRIMARY KEY, size INTEGER, changed_ns INTEGER, inode INTEGER)"
        )
        with connection:
            yield connection

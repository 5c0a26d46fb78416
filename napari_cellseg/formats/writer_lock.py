"""`WriterLock`: one process writes a file, while others may read it; freed by the system when the process ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["WriterLock"]


class WriterLock:
    """A lock on ``<file>-lock``, which exists only while it is held (or after a kill, when it locks nothing).

    Parameters
    ----------
    path : Path
        The file to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-lock")
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock; return whether it was free.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            if not _locked(file):
                os.close(file)
                return False
            with suppress(OSError):
                if os.path.samestat(os.fstat(file), self._path.stat()):
                    self._file = file
                    return True
            os.close(file)  # the holder before removed it meanwhile

    def release(self) -> None:
        """Free the lock; does nothing if it is not held."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # Windows removes no open file; it is then left empty
                self._path.unlink()
            os.close(file)


def _locked(file: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

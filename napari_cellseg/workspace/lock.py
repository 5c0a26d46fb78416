"""The lock of a folder: one viewer writes; the others see who holds it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from pydantic import ValidationError

from napari_cellseg.atomic import set_aside
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.workspace.schemas import LockFile

__all__ = ["FolderLock", "LockOwner"]

_MOST_BYTES = 2**16
_TOKEN = secrets.token_hex(8)
"""One token per process, not per lock: windows of one process are not "another viewer" to each other."""


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """The holder of a folder; ``since`` and ``process_started`` in seconds since 1970."""

    user: str
    host: str
    pid: int
    since: float
    process_started: float
    token: str

    def __str__(self) -> str:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        return f"{self.user} on {self.host} (process {self.pid}, since {began})"

    @property
    def is_gone(self) -> bool:
        """Whether the process has certainly ended; always false for another computer."""
        if self.host != socket.gethostname():
            return False
        try:
            # A new process, which started later, may have the number of the ended one.
            return abs(psutil.Process(self.pid).create_time() - self.process_started) > 2
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


class FolderLock:
    """A lock file; `acquire` creates it or returns its owner.

    Parameters
    ----------
    path : Path
        The lock file; its folder must exist.
    user : str
    """

    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self.user = user
        started = psutil.Process().create_time()
        self._me = LockOwner(
            user=user,
            host=socket.gethostname(),
            pid=os.getpid(),
            since=time.time(),
            process_started=started,
            token=_TOKEN,
        )

    def acquire(self, *, take_over: bool = False) -> LockOwner | None:
        """Take the lock; returns None, or the owner that holds it.

        The lock of an ended process of this computer is replaced; with ``take_over``, any lock is. What is there and is
        no lock (a damaged file, one of another program, a folder) is kept as ``.bak``.

        Raises
        ------
        OSError
            The lock file cannot be written.
        """
        for _ in range(3):  # another viewer may take or release it between two steps
            with suppress(FileExistsError):
                self._create()
                return None
            owner = _read_owner(self._path)
            if self._is_me(owner):
                return None
            if owner is not None and not owner.is_gone and not take_over:
                return owner
            if owner is None:
                set_aside(self._path)
            else:
                self._path.unlink(missing_ok=True)
        return _read_owner(self._path)

    def release(self) -> None:
        """Release the lock if this process still holds it."""
        if self._is_me(_read_owner(self._path)):
            with suppress(OSError):  # on an unplugged drive; others will see that its owner has ended
                self._path.unlink(missing_ok=True)

    @property
    def owner(self) -> LockOwner | None:
        """The present owner of the lock."""
        return _read_owner(self._path)

    @property
    def other_owner(self) -> LockOwner | None:
        """The viewer that took the lock from this process; None if none did, or the file cannot be read."""
        owner = _read_owner(self._path)
        return None if self._is_me(owner) else owner

    @property
    def is_mine(self) -> bool:
        """Whether this process holds the lock and no other viewer replaced it."""
        return self._is_me(_read_owner(self._path))

    def _is_me(self, owner: LockOwner | None) -> bool:
        # A forked child has the token of its parent, but another process id.
        return owner is not None and (owner.token, owner.pid) == (self._me.token, self._me.pid)

    def _create(self) -> None:
        """Create the file together with its content, so that no one can read an empty file."""
        mine = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        mine.write_text(json.dumps(asdict(self._me)), encoding="utf-8")
        try:
            os.link(mine, self._path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with self._path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(asdict(self._me)))
        finally:
            mine.unlink()


def _read_owner(path: Path) -> LockOwner | None:
    """Return the owner of the lock; None if it is free, or the file is damaged or of another program."""
    try:
        data = read_json(path, most_bytes=_MOST_BYTES)
        return LockOwner(**LockFile.model_validate(data).model_dump())
    except (AnnotationError, ValidationError):
        return None

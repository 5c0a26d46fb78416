"""Who has a folder open: one viewer writes, the others are told who it is."""

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

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.workspace.schemas import LockFile

__all__ = ["FolderLock", "LockOwner"]

_MOST_BYTES = 2**16
_TOKEN = secrets.token_hex(8)
"""Of this process, not of one lock: no window of a process is "another viewer" to the process itself."""


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """Who holds a folder; ``since`` and ``process_started`` in seconds since 1970."""

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
        """Whether it is certain that the process has ended; never so for another computer."""
        if self.host != socket.gethostname():
            return False
        try:
            # The number of an ended process may belong to a new one, which then began later.
            return abs(psutil.Process(self.pid).create_time() - self.process_started) > 2
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


class FolderLock:
    """A lock file; `acquire` creates it or says who has it.

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
        """Take the lock; returns None, or who holds it.

        The lock of a process of this computer that has ended is taken over, and any with ``take_over``.

        Raises
        ------
        OSError
            The lock file cannot be written.
        """
        for _ in range(3):  # another viewer may take or free it between two steps
            with suppress(FileExistsError):
                self._create()
                return None
            owner = _read_owner(self._path)
            if self._is_me(owner):
                return None
            if owner is not None and not owner.is_gone and not take_over:
                return owner
            self._path.unlink(missing_ok=True)
        return _read_owner(self._path)

    def release(self) -> None:
        """Free the lock when it is still ours."""
        if self._is_me(_read_owner(self._path)):
            with suppress(OSError):  # on a drive that was unplugged; its owner will be seen to be gone
                self._path.unlink(missing_ok=True)

    @property
    def owner(self) -> LockOwner | None:
        """Who holds the lock now."""
        return _read_owner(self._path)

    @property
    def is_mine(self) -> bool:
        """Whether the lock is this process's, and no other one took it over."""
        return self._is_me(_read_owner(self._path))

    def _is_me(self, owner: LockOwner | None) -> bool:
        # A forked child has the token of its parent, but another number.
        return owner is not None and (owner.token, owner.pid) == (self._me.token, self._me.pid)

    def _create(self) -> None:
        """Make the file with its content at once: nobody can read an empty one."""
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
    """Return who holds the lock; None when nobody does, or the file is damaged or another program's."""
    try:
        data = read_json(path, most_bytes=_MOST_BYTES)
        return LockOwner(**LockFile.model_validate(data).model_dump())
    except (AnnotationError, ValidationError):
        return None

"""The folders that this process holds: each is locked once, edited by one window, and no image is read half-written.

This is the only table that all viewers of a process share. A process is one owner of a folder, however many windows it
has, so the lock cannot belong to one of the windows.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from napari_cellseg.workspace.lock import FolderLock, LockOwner

__all__ = ["Claims", "Editor", "Hold", "Lease", "folder_key"]

_HOLDS: dict[object, Hold] = {}
_TABLE = threading.Lock()
"""Held to read or change the table, or to remove a lock file; never while a worker writes."""


class Editor(Protocol):
    """The window that edits a folder; see `Sessions`."""

    window: str

    def hand_over(self) -> None:
        """Save, and stop editing.

        Raises
        ------
        ExportError
            The edits cannot be saved.
        """


class Claims:
    """The images that a window has (open, or being opened), and the image that a worker writes.

    Its lock is held only to compare two sets. The window never waits: it announces the images it has. A worker may not
    write one of these; a worker that reads an image waits until another worker has written it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._of_window: frozenset[str] = frozenset()
        self._written: set[str] = set()

    def set_window(self, image_ids: frozenset[str]) -> None:
        """Set the images that the window has."""
        with self._changed:
            self._of_window = image_ids

    def is_of_window(self, image_id: str) -> bool:
        """Return whether the window has an image."""
        with self._changed:
            return image_id in self._of_window

    @contextmanager
    def writing(self, image_id: str) -> Iterator[bool]:
        """Reserve an image for writing in a worker; yields False if the window has it: the worker must not write."""
        with self._changed:
            may_write = image_id not in self._of_window and image_id not in self._written
            if may_write:
                self._written.add(image_id)
        try:
            yield may_write
        finally:
            if may_write:
                with self._changed:
                    self._written.discard(image_id)
                    self._changed.notify_all()

    def wait_until_written(self, image_id: str, timeout_s: float = 60.0) -> None:
        """Block a worker until no other worker writes the image."""
        with self._changed:
            self._changed.wait_for(lambda: image_id not in self._written, timeout_s)


class Hold:
    """A folder that this process holds; made by `Lease`."""

    def __init__(self, key: object, state_folder: Path, lock: FolderLock) -> None:
        self.key = key
        self.state_folder = state_folder
        self.lock = lock
        self.claims = Claims()
        self.leases = 0
        self._editor: weakref.ref[Editor] | None = None

    @property
    def editor(self) -> Editor | None:
        """The window that edits the folder; only for the thread of the windows."""
        return None if self._editor is None else self._editor()

    @editor.setter
    def editor(self, editor: Editor | None) -> None:
        self._editor = None if editor is None else weakref.ref(editor)


class Lease:
    """A share in the lock of a folder: the lock file is removed when the last share of the process is released.

    Parameters
    ----------
    state_folder : Path
        Folder of the lock file; must exist.
    user : str
    take_over : bool
        Take the lock from another viewer.

    Raises
    ------
    OSError
        The lock file cannot be written.
    """

    def __init__(self, state_folder: Path, user: str, *, take_over: bool = False) -> None:
        key, lock = folder_key(state_folder), FolderLock(state_folder / "lock.json", user)
        with _TABLE:
            self.hold = _HOLDS.setdefault(key, Hold(key, state_folder, lock))
            self.hold.leases += 1
        # Also at exit, if no one closed it.
        self.close = weakref.finalize(self, _give_back, self.hold)
        try:
            self.owner: LockOwner | None = self.hold.lock.acquire(take_over=take_over)
        except OSError:
            self.close()
            raise

    def share(self) -> Lease:
        """Return another share, to be closed separately."""
        return Lease(self.hold.state_folder, self.hold.lock.user)


def folder_key(folder: Path) -> object:
    """Return a key that identifies a folder however its path is written: as a link, relative, or in another case.

    Raises
    ------
    OSError
        There is no such folder.
    """
    status = folder.stat()
    return (status.st_dev, status.st_ino) if status.st_ino else folder.resolve()


def _give_back(hold: Hold) -> None:
    with _TABLE:
        hold.leases -= 1
        if not hold.leases:
            if _HOLDS.get(hold.key) is hold:
                del _HOLDS[hold.key]
            hold.lock.release()

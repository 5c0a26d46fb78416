"""Writes files so that a crash, a kill or a full disk leaves the old or the new files, never partial or missing ones.

A file that the program did not write, or that was changed since, is kept as ``<name>.bak`` (then ``.bak2``, ``.bak3``,
...) before it is replaced or removed. All writers use this module.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import BinaryIO, Literal

from napari_cellseg.errors import CellSegError, ExportError
from napari_cellseg.written import forget, is_own, note_own

__all__ = [
    "FileSet",
    "Keep",
    "atomic_write",
    "export_set",
    "export_write",
    "file_set",
    "heard_replaced",
    "remove_abandoned",
    "replace_folder",
    "set_aside",
    "write_errors",
]

Keep = Literal["foreign", "always", "never"]
"""Which replaced or removed files are kept as ``.bak``.

``foreign``: files that the program did not write, or that were changed since. ``always``: also the last version of each
of its own files. ``never``: for files in the program's own folder (``.cellseg``), which are checked on reading.
"""

_ADVICE = {
    errno.ENOSPC: "Free some space, or choose a folder on another disk.",
    errno.EDQUOT: "Free some space, or choose a folder on another disk.",
    errno.EFBIG: "Choose a folder on a disk that takes larger files.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.EROFS: "Choose a folder that can be written to.",
    errno.ENOENT: "Choose a folder that exists.",
}

_HEARD: ContextVar[list[tuple[Path, Path | None]] | None] = ContextVar("heard replaced", default=None)
_ABANDONED = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


@contextmanager
def heard_replaced() -> Iterator[list[tuple[Path, Path | None]]]:
    """Collect the files with other content that are replaced or removed in the block, and the backup of each or None.

    The list belongs to this thread; the block must not contain a ``yield`` of a generator.
    """
    heard: list[tuple[Path, Path | None]] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


def _hear(path: Path, kept: Path | None) -> None:
    heard = _HEARD.get()
    if heard is not None:
        heard.append((path, kept))


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, keep: Keep = "foreign") -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` only if the block ends without an error.

    Parameters
    ----------
    path : path
        Path of the file; its folder must exist.
    keep : Keep
        What happens to an existing file.

    Raises
    ------
    OSError
        As the file system raises it (full disk, no permission); ``path`` is then unchanged.
    """
    with file_set(keep=keep) as files, files.open(path) as file:
        yield file


@contextmanager
def file_set(*, keep: Keep = "foreign") -> Iterator[FileSet]:
    """Write several files that belong together; no old file is replaced before all new ones are on disk.

    Raises
    ------
    OSError
        As the file system raises it. If it occurs during writing, all old files are unchanged.
    """
    files = FileSet(keep)
    try:
        yield files
        files.commit()
    finally:
        files.clean()


class FileSet:
    """Files under temporary names, and files to remove; `commit` puts them in place."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._written: dict[Path, Path] = {}
        self._unfinished: list[Path] = []
        self._removed: list[Path] = []

    @contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
        """Open one file; after the block, its bytes are on disk under a temporary name in the same folder."""
        target = Path(path)
        # Not tempfile.mkstemp: its files are private (0600), but the umask decides who may read a result.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        self._unfinished.append(temporary)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        self._written[target] = temporary

    def remove(self, path: Path) -> None:
        """Remove a file, or rename it to ``.bak``, once all new files are in place."""
        self._removed.append(path)

    def commit(self) -> None:
        """Rename the new files over the old ones, then remove files."""
        for target, temporary in self._written.items():
            if self._keep != "never" and os.path.lexists(target):
                _keep_backup(target, temporary, self._keep)
            temporary.replace(target)
            if self._keep != "never":
                note_own(target)
        for path in self._removed:
            _retire(path, self._keep)
        # Without this a power cut may lose the renames.
        for folder in {path.parent for path in (*self._written, *self._removed)}:
            _sync_folder(folder)

    def clean(self) -> None:
        """Remove temporary files that were not renamed."""
        for temporary in self._unfinished:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def export_write(
    path: str | os.PathLike[str], *, keep: Keep = "foreign", error: type[CellSegError] = ExportError
) -> Iterator[BinaryIO]:
    """`atomic_write` for a result: an error of the file system becomes an ``error`` that names the file."""
    with write_errors(Path(path), error), atomic_write(path, keep=keep) as file:
        yield file


@contextmanager
def export_set(folder: Path, *, keep: Keep = "foreign") -> Iterator[FileSet]:
    """`file_set` for results in one folder, which is created; errors as `export_write`."""
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with file_set(keep=keep) as files:
            yield files


@contextmanager
def write_errors(path: Path, error: type[CellSegError] = ExportError) -> Iterator[None]:
    """Convert an error of the file system to an ``error`` that names the file, the cause and what to do."""
    try:
        yield
    except OSError as cause:
        advice = _ADVICE.get(cause.errno or 0, "Check the disk or choose another folder.")
        raise error(f"Cannot write {path}: {cause.strerror or cause}. {advice}") from cause


def set_aside(path: Path) -> Path | None:
    """Rename a file or folder to the first free of ``<name>.bak``, ``.bak2``, ...; return the path, None if it is gone.

    Raises
    ------
    OSError
        As the file system raises it; the file then keeps its name.
    """
    kept = _free_backup(path)
    try:
        path.rename(kept)
    except FileNotFoundError:
        if os.path.lexists(path) or not path.parent.exists():
            raise
        return None
    return kept


def replace_folder(new: Path, target: Path) -> None:
    """Rename a finished folder to ``target``; an old folder is kept as ``.bak`` unless the program wrote all of it.

    File systems cannot swap two folders: after a kill in between, the old one remains as ``.bak``.

    Raises
    ------
    OSError
        As the file system raises it; the old folder is then unchanged.
    """
    own = target.is_dir() and not target.is_symlink() and all(map(is_own, _files_below(target)))
    kept = set_aside(target) if os.path.lexists(target) else None
    try:
        new.rename(target)
    except BaseException:
        if kept is not None:
            kept.rename(target)
        raise
    for file in _files_below(target):
        note_own(file)
    if own and kept is not None:
        shutil.rmtree(kept, ignore_errors=True)
    _sync_folder(target.parent)


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files of killed processes from the program's own folder."""
    for path in folder.glob(".*.tmp"):
        if _ABANDONED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _retire(path: Path, keep: Keep) -> None:
    """Remove the program's own file; rename any other file to ``.bak``."""
    if not is_own(path):
        _hear(path, set_aside(path))
        return
    _hear(path, None)
    if keep == "always":
        kept = _own_backup(path) or _free_backup(path)
        path.replace(kept)
        note_own(kept)
    else:
        path.unlink(missing_ok=True)
    forget(path)


def _keep_backup(target: Path, new: Path, keep: Keep) -> None:
    """Keep the file at ``target`` under a second name, unless it is the program's own or has the new content."""
    own = is_own(target)
    replaced = own and keep == "foreign"
    if (replaced and _HEARD.get() is None) or _same_content(target, new):
        return
    if replaced:
        _hear(target, None)
        return
    kept = _own_backup(target) if own else None
    if kept is None:
        kept = _free_backup(target)
        try:
            # A hard link keeps `target` in place at every moment, which a rename would not.
            os.link(target, kept)
        except OSError:  # a file system without hard links (exFAT, some network shares)
            _copy(target, kept)
    else:
        _copy(target, kept)
    _hear(target, kept)
    if own:
        note_own(kept)


def _own_backup(target: Path) -> Path | None:
    """Return the backup of an earlier version that the program wrote, which a newer backup may replace."""
    return next((path for path in _backups(target) if is_own(path)), None)


def _backups(target: Path) -> Iterator[Path]:
    """Yield the existing backups in order."""
    for path in _backup_names(target):
        if not os.path.lexists(path):
            return
        yield path


def _free_backup(target: Path) -> Path:
    return next(path for path in _backup_names(target) if not os.path.lexists(path))


def _backup_names(target: Path) -> Iterator[Path]:
    return (target.with_name(f"{target.name}.bak{number if number > 1 else ''}") for number in count(1))


def _same_content(first: Path, second: Path) -> bool:
    try:
        if first.is_symlink() or not first.is_file() or first.stat().st_size != second.stat().st_size:
            return False
        with first.open("rb") as a, second.open("rb") as b:
            while part := a.read(1 << 20):
                if part != b.read(1 << 20):
                    return False
    except OSError:  # a file that cannot be read is kept
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with source.open("rb") as old, temporary.open("xb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
            new.flush()
            os.fsync(new.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Write a file so that a crash, a kill or a full disk leaves the old one or the new one, never a part."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from napari_cellseg.errors import ExportError

__all__ = ["atomic_write", "export_write"]


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, backup: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` only when the block ends without an error.

    The bytes go to a temporary file in the same folder, are synced to disk and renamed over ``path``; then the folder
    is synced, without which the rename itself may be lost in a power cut.

    Parameters
    ----------
    path : path
        Where the file shall be; its folder must exist.
    backup : bool
        Keep an existing file as ``<name>.bak`` (replacing an older one).

    Raises
    ------
    OSError
        As the file system gives it (full disk, no permission); ``path`` is then unchanged.
    """
    target = Path(path)
    # Not tempfile.mkstemp: its files are private (0600), and a result is for everybody the folder's umask lets in.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if backup and target.exists():
            _keep_backup(target)
        temporary.replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


@contextmanager
def export_write(path: str | os.PathLike[str], *, backup: bool = False) -> Iterator[BinaryIO]:
    """`atomic_write` for a result: what the file system refuses becomes an `ExportError` that names the file."""
    try:
        with atomic_write(path, backup=backup) as file:
            yield file
    except OSError as error:
        raise ExportError(f"Cannot write {path}: {error.strerror or error}.") from error


def _keep_backup(target: Path) -> None:
    kept = target.with_name(target.name + ".bak")
    with suppress(FileNotFoundError):
        kept.unlink()
    try:
        # A hard link keeps `target` in place at every moment, which a rename would not.
        os.link(target, kept)
    except OSError:  # a file system without hard links (exFAT, some network shares)
        kept.write_bytes(target.read_bytes())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

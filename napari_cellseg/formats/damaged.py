"""Backups of damaged files: the intact part is used, and the file is kept under another name."""

from __future__ import annotations

import errno
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from napari_cellseg.atomic import atomic_write
from napari_cellseg.errors import AnnotationError, CellSegError

__all__ = ["heard_damage", "keep_damaged"]

logger = logging.getLogger(__name__)

_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)

_HEARD: ContextVar[list[str] | None] = ContextVar("heard damage", default=None)


@contextmanager
def heard_damage() -> Iterator[list[str]]:
    """Collect what `keep_damaged` says in the block, each text once, for the user to be told.

    Readers return the sound part of a file, or None, so that their callers need not know of damage. The list belongs
    to this thread; the block must not contain a ``yield`` of a generator.
    """
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


def keep_damaged(path: Path, content: bytes, problem: str, error: type[CellSegError] = AnnotationError) -> str:
    """Copy a damaged file to ``<name>.damaged-<checksum>.bak`` before its intact part is used, and log the problem.

    The same content is kept only once. In a folder that cannot be written to, the file is safe without a copy.

    Returns
    -------
    str
        The problem and the name of the copy, as a message for the user.

    Raises
    ------
    CellSegError
        Of the given type: the file cannot be kept, so the intact part must not be used: it would replace the file.
    """
    kept = path.with_name(f"{path.name}.damaged-{zlib.crc32(content):08x}.bak")
    if not kept.exists():
        try:
            _keep(path, content, kept)
        except OSError as cause:
            if cause.errno not in _NOT_WRITABLE:
                raise error(
                    f"{path} is damaged: {problem}. It is not used, because no copy of it can be kept: "
                    f"{cause.strerror or cause}. Free some space and open it again."
                ) from cause
    where = f" The damaged file is kept as {kept.name}." if kept.exists() else ""
    text = f"{path} is damaged: {problem}.{where}"
    logger.warning("%s", text)
    heard = _HEARD.get()
    if heard is not None and text not in heard:
        heard.append(text)
    return text


def _keep(path: Path, content: bytes, kept: Path) -> None:
    try:
        with atomic_write(kept, keep="never") as file:
            file.write(content)
    except OSError as cause:
        if cause.errno in _NOT_WRITABLE:
            raise
        # A full disk has room for a second name. No writer changes the file in place: each replaces or renames it.
        try:
            os.link(path, kept)
        except OSError:
            raise cause from None

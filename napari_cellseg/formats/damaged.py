"""Backups of damaged files: the intact part is used, and the file is kept under another name."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from napari_cellseg.atomic import atomic_write

__all__ = ["heard_damage", "keep_damaged"]

logger = logging.getLogger(__name__)

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


def keep_damaged(path: Path, content: bytes, problem: str) -> str:
    """Copy a damaged file to ``<name>.damaged-<checksum>.bak`` before its intact part is used, and log the problem.

    The same content is kept only once. If the copy cannot be written, neither can the file that would replace it.

    Returns
    -------
    str
        The problem and the name of the copy, as a message for the user.
    """
    kept = path.with_name(f"{path.name}.damaged-{zlib.crc32(content):08x}.bak")
    if not kept.exists():
        # A copy, not a link: a journal is appended to in place.
        with suppress(OSError), atomic_write(kept, keep="never") as file:
            file.write(content)
    where = f" The damaged file is kept as {kept.name}." if kept.exists() else ""
    text = f"{path} is damaged: {problem}.{where}"
    logger.warning("%s", text)
    heard = _HEARD.get()
    if heard is not None and text not in heard:
        heard.append(text)
    return text

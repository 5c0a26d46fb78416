"""Backups of damaged files: the intact part is used, and the file is kept under another name."""

from __future__ import annotations

import logging
import zlib
from contextlib import suppress
from pathlib import Path

from napari_cellseg.atomic import atomic_write

__all__ = ["keep_damaged"]

logger = logging.getLogger(__name__)


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
    return text

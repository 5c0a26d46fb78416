"""A file that is damaged in part is used as far as it is sound; what it held before is kept under another name."""

from __future__ import annotations

import logging
import zlib
from contextlib import suppress
from pathlib import Path

from napari_cellseg.atomic import atomic_write

__all__ = ["keep_damaged"]

logger = logging.getLogger(__name__)


def keep_damaged(path: Path, content: bytes, problem: str) -> str:
    """Keep a file that is about to be used in part as ``<name>.damaged-<checksum>.bak``, and log what is wrong.

    The same damaged file is kept once. Where nothing can be written, nothing will replace the file either.

    Returns
    -------
    str
        What is wrong and where the file is kept, in words for the user.
    """
    kept = path.with_name(f"{path.name}.damaged-{zlib.crc32(content):08x}.bak")
    if not kept.exists():
        # A copy and not a link: a journal is added to in place.
        with suppress(OSError), atomic_write(kept, keep="never") as file:
            file.write(content)
    where = f" The file as it was is kept as {kept.name}." if kept.exists() else ""
    text = f"{path} is damaged: {problem}.{where}"
    logger.warning("%s", text)
    return text

"""The only gate for zip files: members are unpacked in pieces, and one that unpacks to too much is refused midway.

The sizes in a zip's headers are unverified claims: they serve to refuse a file early, never to trust it.
"""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_cellseg.errors import AnnotationError, CellSegError

__all__ = ["MAX_MEMBERS", "CheckedZip", "opened_zip"]

MAX_MEMBERS = 100_000
"""Most files in one zip."""

_ALWAYS_BYTES, _MAX_RATIO, _MOST_BYTES = 64 * 2**20, 100, 2**30
_PIECE = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods can ask for any amount of memory at the start

# All errors that zipfile raises on a damaged file.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError, LookupError,
    ArithmeticError, AttributeError, AssertionError, RuntimeError, MemoryError,
)  # fmt: skip


class CheckedZip:
    """An open zip file: the names, and the members within a shared budget of bytes."""

    def __init__(self, archive: zipfile.ZipFile, budget: int) -> None:
        self._archive, self._left, self._budget = archive, budget, budget
        self.names: tuple[str, ...] = tuple(info.filename for info in archive.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        """Unpack one member.

        Raises
        ------
        CellSegError
            (from the block of `opened_zip`) No such member, damaged, encrypted, or over the budget.
        """
        info = self._archive.getinfo(name)
        if info.flag_bits & 0x1:
            raise ValueError(f"{name} in it is encrypted; save the zip without a password")
        if info.compress_type not in _METHODS:
            raise ValueError(f"{name} in it is not packed with Deflate; save it as an ordinary zip")
        self._check(name, info.file_size)
        pieces = []
        with self._archive.open(info) as member:
            while piece := member.read(_PIECE):
                pieces.append(piece)
                self._check(name, len(piece))
                self._left -= len(piece)
        return b"".join(pieces)

    def _check(self, name: str, count: int) -> None:
        if count > self._left:
            raise ValueError(
                f"it unpacks to more than {self._budget / 2**20:.0f} MiB (at {name}), the limit for a zip of this size"
            )


@contextmanager
def opened_zip(
    path: str | os.PathLike[str], *, most_bytes: int = _MOST_BYTES, error: type[CellSegError] = AnnotationError
) -> Iterator[CheckedZip]:
    """Open a zip file; any error of zipfile in the block becomes one error that names the file.

    Parameters
    ----------
    path : path
    most_bytes : int
        Limit of the unpacked size of all members read. A smaller limit follows from the size of the file: 100 times
        its size, but at least 64 MiB.
    error : type of CellSegError
        Type of the error to raise.

    Raises
    ------
    CellSegError
        Of the given type: not a regular file, not a zip, damaged, encrypted, a repeated name, too many members, or too
        large.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or a device, not a file")
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) > MAX_MEMBERS:
                raise ValueError(f"it holds {len(names)} files; the limit is {MAX_MEMBERS}")
            if len(set(names)) != len(names):
                raise ValueError("it holds two files of the same name")
            yield CheckedZip(archive, min(most_bytes, max(_ALWAYS_BYTES, _MAX_RATIO * size)))
    except _ZIP_ERRORS as reason:
        text = getattr(reason, "strerror", None) or reason or type(reason).__name__
        raise error(f"{path} is not an intact zip file: {str(text).rstrip('.')}.") from reason

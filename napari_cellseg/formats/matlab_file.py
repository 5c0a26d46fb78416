"""Reads the numeric arrays of MATLAB files of version 5 to 7.

scipy.io is not used: its compiled reader wrote outside its memory on a damaged file, and the program ended with a
segmentation fault at a later, sound file. Here numpy and zlib check every length. The layout is that of "MAT-File
Format" (The MathWorks); text, cells, structures, objects and sparse arrays are passed over by their lengths.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.images.listing import check_regular_file

__all__ = ["NewerMatlabError", "array_names", "read_arrays"]

_HEADER_BYTES, _TAG_BYTES = 128, 8
_HEAD_BYTES = 2048
"""Enough for the type, 32 sizes and the name of a variable."""

_MOST_VARIABLES = 10_000
_BASE_VALUES, _PER_BYTE = 2**25, 64
"""Limit of the number of values of a file. A packed label image has 20 to 50 px in each byte."""

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)
_CLASS_WITHOUT_SHAPE = 17
_IS_COMPLEX = 0x0800

_BROKEN = {struct.error: "it ends too early", zlib.error: "its packed data is not intact"}


class NewerMatlabError(AnnotationError):
    """The file is of version 7.3, which is HDF5."""


class _Damaged(Exception):
    """The content breaks the rules of the format."""


class _Unusable(Exception):
    """The content is sound, but not read."""


@dataclass(frozen=True)
class _Variable:
    """The place of a variable in the file, and what stands before its values.

    ``position`` and ``size`` are those of the bytes in the file, ``start`` and ``length`` those of the values in the
    unpacked bytes. ``problem`` is not empty where the values are not a real numeric array.
    """

    name: str
    position: int
    size: int
    is_packed: bool
    problem: str = "is not a numeric array"
    shape: tuple[int, ...] = ()
    dtype: str = "u1"
    start: int = 0
    length: int = 0


def array_names(path: Path) -> list[str]:
    """Return the names of the variables of a MATLAB file.

    Raises
    ------
    CellSegError
        The file cannot be read, is not a MATLAB file of version 5 to 7, or is damaged.
    """
    with _opened(path) as (file, order):
        return [variable.name for variable in _variables(file, order)]


def read_arrays(path: Path, names: Collection[str]) -> dict[str, npt.NDArray[np.generic]]:
    """Return those of the named variables that a MATLAB file has, in the types in which they are stored.

    Raises
    ------
    CellSegError
        The same as for `array_names`; a named variable is not a real numeric array, or has more values than
        is plausible for a file of this size.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    with _opened(path) as (file, order):
        budget = _BASE_VALUES + _PER_BYTE * path.stat().st_size
        for variable in _variables(file, order):
            if variable.name in names:
                if variable.problem:
                    raise _Unusable(f"variable {variable.name} {variable.problem}")
                count = math.prod(variable.shape)
                if count > budget:
                    millions = f"{count / 1e6:.0f} million values"
                    raise _Unusable(f"variable {variable.name} has {millions}, too many for a file of this size")
                budget -= count
                arrays[variable.name] = _values(file, variable)
    return arrays


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Yield the file behind its header, and its byte order; errors in the block become one that names the file."""
    check_regular_file(path)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            if header.startswith((b"\x89HDF", b"MATLAB 7.3")) or header[124:] in (b"\0\2IM", b"\2\0MI"):
                raise NewerMatlabError(f"{path.name} cannot be read: it has version 7.3. Save it in MATLAB with -v7.")
            yield file, _byte_order(header)
    except _Unusable as error:
        raise AnnotationError(f"{path.name} cannot be read: {error}.") from error
    except (_Damaged, struct.error, zlib.error) as error:
        what = error if isinstance(error, _Damaged) else _BROKEN[type(error)]
        raise AnnotationError(f"{path.name} cannot be read: it is damaged ({what}). Copy it again.") from error
    except MemoryError as error:
        raise AnnotationError(f"{path.name} cannot be read: there is not enough memory.") from error
    except OSError as error:
        raise AnnotationError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _byte_order(header: bytes) -> str:
    order = {b"\0\1IM": "<", b"\1\0MI": ">"}.get(header[124:])
    if order is None:
        raise _Unusable("it is not a MATLAB file of version 5 to 7; save it in MATLAB with -v7")
    return order


def _variables(file: BinaryIO, order: str) -> Iterator[_Variable]:
    end = file.seek(0, 2)
    position = _HEADER_BYTES
    for _ in range(_MOST_VARIABLES):
        if position == end:
            return
        file.seek(position)
        kind, size = struct.unpack(order + "II", file.read(_TAG_BYTES))
        position += _TAG_BYTES
        if kind not in (_MATRIX, _COMPRESSED) or position + size > end:
            raise _Damaged(f"no sound variable at byte {position - _TAG_BYTES}")
        if size:
            place = _Variable("", position, size, is_packed=kind == _COMPRESSED)
            yield _with_head(place, _head(file, place), order)
        position += size
    raise _Unusable(f"it has more than {_MOST_VARIABLES} variables")


def _with_head(place: _Variable, data: bytes, order: str) -> _Variable:
    """Return the variable with the name, shape and type that its first bytes hold."""
    kind, begin, length, _ = _tag(data, 0, order)
    if kind != _MATRIX:
        raise _Damaged("a packed part that is not a variable")
    if not length:  # how MATLAB writes an empty matrix without a name
        return place
    _, begin, _, at = _tag(data, begin, order)
    (flags,) = struct.unpack_from(order + "I", data, begin)
    shape: tuple[int, ...] = ()
    if flags & 0xFF != _CLASS_WITHOUT_SHAPE:
        _, begin, length, at = _tag(data, at, order)
        shape = struct.unpack_from(f"{order}{min(length // 4, 32)}i", data, begin)
    _, begin, length, at = _tag(data, at, order)
    name = data[begin : begin + length].decode("latin-1")
    if flags & 0xFF not in _NUMERIC_CLASSES:
        return replace(place, name=name)
    if flags & _IS_COMPLEX:
        return replace(place, name=name, problem="has complex numbers")
    kind, begin, length, _ = _tag(data, at, order)
    if kind not in _NUMBERS or min(shape, default=-1) < 0:
        raise _Damaged(f"the type or shape of variable {name[:63]}")
    dtype = order + _NUMBERS[kind]
    if math.prod(shape) * np.dtype(dtype).itemsize != length:
        raise _Damaged(f"variable {name[:63]} has {length} bytes, which does not fit its shape")
    return replace(place, name=name, problem="", shape=shape, dtype=dtype, start=begin, length=length)


def _tag(data: bytes, at: int, order: str) -> tuple[int, int, int, int]:
    """Return the type of a part, where its bytes begin and how many they are, and where the next part begins."""
    kind, length = struct.unpack_from(order + "II", data, at)
    begin = at + _TAG_BYTES
    if kind >> 16:  # up to four bytes inside the tag
        return kind & 0xFFFF, at + 4, kind >> 16, begin
    return kind, begin, length, begin + length + -length % 8


def _head(file: BinaryIO, place: _Variable) -> bytes:
    """Return the first bytes of a variable with its tag."""
    if place.is_packed:
        return zlib.decompressobj().decompress(file.read(min(place.size, _HEAD_BYTES)), _HEAD_BYTES)
    file.seek(place.position - _TAG_BYTES)
    return file.read(min(_TAG_BYTES + place.size, _HEAD_BYTES))


def _values(file: BinaryIO, variable: _Variable) -> npt.NDArray[np.generic]:
    if variable.is_packed:
        data = _unpacked(file, variable)
    else:
        file.seek(variable.position - _TAG_BYTES)
        data = file.read(min(variable.start + variable.length, _TAG_BYTES + variable.size))
    if len(data) < variable.start + variable.length:
        raise _Damaged(f"variable {variable.name[:63]} ends too early")
    stored = np.frombuffer(data, variable.dtype, math.prod(variable.shape), variable.start)
    return stored.reshape(variable.shape, order="F").astype(stored.dtype.newbyteorder("="), copy=False)


def _unpacked(file: BinaryIO, variable: _Variable) -> bytes:
    file.seek(variable.position)
    unpack = zlib.decompressobj()
    data = unpack.decompress(file.read(variable.size), variable.start + variable.length)
    unpack.decompress(unpack.unconsumed_tail, _HEAD_BYTES)  # zlib compares the checksum at the end
    if not unpack.eof:
        raise _Damaged(f"variable {variable.name[:63]} has more or less data than it states")
    return data

"""Reads ``.npy`` files with pickled content, like Cellpose's ``_seg.npy``, without running code from them.

A pickle is a program: it may call any function by name. Here only the names that numpy needs to build an array are
allowed, and they are replaced by functions that only make arrays.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.file_gate import read_bytes

__all__ = ["load_plain_npy"]

_MAX_BYTES = 2**32
_KINDS = "buifcSU"


class _Refused(Exception):
    pass


def _empty_array(kind: type, shape: tuple[int, ...], _code: bytes) -> npt.NDArray[Any]:
    """Replace numpy's ``_reconstruct``; the state of the array follows."""
    if kind is not np.ndarray or shape != (0,):
        raise _Refused("an array of an unknown kind")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _scalar(dtype: np.dtype[Any], data: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.kind not in _KINDS or not isinstance(data, bytes):
        raise _Refused("a value of an unknown kind")
    return np.frombuffer(data, dtype, 1)[0]


def _dtype(name: Any, *flags: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or len(name) > 8:
        raise _Refused("a type of an unknown kind")
    return np.dtype(name, *(bool(flag) for flag in flags))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("text of an unknown kind")
    return text.encode("latin1")


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    if not isinstance(dtype, np.dtype) or dtype.kind not in _KINDS:
        raise _Refused("an array of an unknown kind")
    return np.frombuffer(bytes(buffer), dtype).reshape(shape, order="F" if order == "F" else "C")


def _no_bytes(*content: Any) -> bytes:
    if content:
        raise _Refused("bytes of an unknown kind")
    return b""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"it asks for {module}.{name}, which is not an array or a plain value")
        return _ALLOWED[module, name]

    def persistent_load(self, _: Any) -> Any:
        raise _Refused("it refers to another file")


def load_plain_npy(path: Path) -> Any:
    """Return the arrays and plain values of a ``.npy`` file, pickled or not.

    Raises
    ------
    AnnotationError
        The file is damaged, or its pickle holds anything but arrays, numbers, text, lists and dictionaries.
    """
    file = io.BytesIO(read_bytes(path, most_bytes=_MAX_BYTES))
    try:
        version = npy_format.read_magic(file)
        reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = reader(file)
        if not dtype.hasobject:
            file.seek(0)
            return np.load(file, allow_pickle=False)
        if shape not in ((), (1,)):
            raise _Refused("it holds an array of Python objects")
        loaded = _PlainUnpickler(file).load()
        return loaded.item() if isinstance(loaded, np.ndarray) and loaded.size == 1 else loaded
    except _Refused as error:
        raise AnnotationError(f"{path.name} is not read: {error}.") from error
    except MemoryError as error:
        raise AnnotationError(f"{path.name} cannot be read: there is not enough memory.") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise AnnotationError(f"{path.name} cannot be read: it is damaged ({type(error).__name__}).") from error

"""The only gate for files of ``torch.save``: tensors and plain values, never a class or a function.

``weights_only=True`` blocks code; harmful data that it admits (a tensor of a trillion elements over four bytes, a list
that contains itself) is refused here.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_cellseg.errors import CheckpointError

__all__ = ["load_plain"]

_MAX_DEPTH, _MAX_VALUES = 32, 10_000_000

# All errors that torch's reader and unpickler raise on damaged bytes.
_LOAD_ERRORS = (
    OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, ImportError,
    RuntimeError, MemoryError, struct.error, pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip


def load_plain(path: Path) -> Any:
    """Return the content of a ``torch.save`` file, on the CPU.

    Raises
    ------
    CheckpointError
        Not a regular file, damaged, or with other values than tensors, numbers, text, lists, tuples and dicts.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is no file.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch's message advises to open it anyway
            reason = "it is damaged, or holds more than tensors and plain values"
        raise CheckpointError(f"{path} cannot be read: {reason}.") from error
    problem = _problem(content)
    if problem:
        raise CheckpointError(f"{path} is damaged: {problem}.")
    return content


def _problem(content: object) -> str:
    """Return the problem of the values; empty if they are plain."""
    todo: list[tuple[object, int]] = [(content, 0)]
    values = 0
    while todo:
        value, depth = todo.pop()
        values += 1
        if depth > _MAX_DEPTH or values > _MAX_VALUES:
            return "its values are nested too deep, or too many"
        if isinstance(value, Tensor):
            if value.layout != torch.strided:
                return f"it has a tensor of layout {value.layout}"
            if value.numel() * value.element_size() > max(value.untyped_storage().nbytes(), 1 << 20):
                return f"it has a tensor of shape {tuple(value.shape)} without its data"
        elif isinstance(value, dict):
            todo += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple):
            todo += [(item, depth + 1) for item in value]
        elif not (value is None or isinstance(value, int | float | str | bytes)):
            return f"it has a {type(value).__name__}"
    return ""

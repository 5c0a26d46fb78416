"""Keeps the memory of this process small: returns free memory to the system, and bounds the caches of oneDNN."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache

__all__ = ["bound_shape_caches", "return_free_memory"]

_SHAPES = "128"
"""The shapes of one tile take less than half of this."""


def bound_shape_caches() -> None:
    """Let oneDNN and torch's layer above it keep the code of few shapes; before torch is imported.

    They compile code for each shape and keep 1024 of them. Each tile has another number of cells, so that a prediction
    grew by 2 to 3 MiB a tile. What the environment says has priority.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, _SHAPES)


def return_free_memory() -> None:
    """Ask the C library to return free pages; does nothing if it lacks the call, which only glibc on Linux has.

    Images and activations of changing sizes leave gaps that glibc keeps: a training run had grown by 420 MiB after 14
    epochs, all of it free. Takes milliseconds (``man 3 malloc_trim``).
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return lambda _: None
    return trim

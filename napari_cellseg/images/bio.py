"""Reads microscope formats through bioio and its plugins: CZI, ND2, LIF and others that are installed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.limits import MAX_BYTES
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.planes import Stack
from napari_cellseg.images.tags import samples_last

__all__ = ["planes", "read", "size"]


def read(path: Path, *, options: ReadOptions) -> Image:
    """Read the first scene.

    Raises
    ------
    ImageReadError
        bioio cannot read the file, or it is too large.
    """
    file = _open(path)
    try:
        lazy = file.dask_data
        if lazy.nbytes > MAX_BYTES:
            raise ImageReadError(f"Cannot read {path}: it would take {lazy.nbytes / 2**30:.1f} GiB of memory.")
        pixels = np.asarray(lazy)
        sizes = file.physical_pixel_sizes
    except ImageReadError:
        raise
    except Exception as error:
        raise ImageReadError(f"Cannot read {path}: {error}") from error
    um = math.sqrt(sizes.Y * sizes.X) if sizes.Y and sizes.X else None
    pixels, axes = samples_last(pixels, str(file.dims.order))
    return Image(pixels=pixels, axes=axes, pixel_size_um=um, path=path, options=options)


def size(path: Path) -> tuple[int, int]:
    """Return height and width, px."""
    dims = _open(path).dims
    return int(dims.Y), int(dims.X)


def planes(path: Path, *, options: ReadOptions) -> int:
    """Return the number of planes of the first scene."""
    dims = _open(path).dims
    stack = samples_last(Stack.stand_in(dims.shape), str(dims.order))
    return Stack(*stack, options.channels is not None).planes


def _open(path: Path) -> Any:
    from bioio import BioImage

    try:
        return BioImage(path)
    except Exception as error:
        raise ImageReadError(f"Cannot read {path}: {error}") from error

"""Reads OME-Zarr (versions 0.4 and 0.5): the first multiscale image of a folder ``*.zarr``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, field_validator

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.limits import MAX_BYTES, check_ratio
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.planes import Stack
from napari_cellseg.images.tags import samples_last

__all__ = ["opened", "pixel_size_um", "planes", "read", "size"]

_UM: dict[str | None, float] = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "": 1.0}


class _Axis(BaseModel):
    name: str = Field(min_length=1)
    unit: str | None = None


class _Change(BaseModel):
    type: str
    scale: tuple[float, ...] | None = None


class _Dataset(BaseModel):
    path: str
    changes: tuple[_Change, ...] = Field((), alias="coordinateTransformations")


class _Multiscale(BaseModel):
    """What OME-Zarr says of an image: its axes, and an array for each level."""

    axes: tuple[_Axis, ...]
    datasets: tuple[_Dataset, ...] = Field(min_length=1)

    @field_validator("axes", mode="before")
    @classmethod
    def _named(cls, axes: Any) -> Any:
        """Version 0.3 lists only the names."""
        is_list = isinstance(axes, list)
        return [{"name": axis} if isinstance(axis, str) else axis for axis in axes] if is_list else axes

    @property
    def letters(self) -> str:
        return "".join(axis.name[0] for axis in self.axes).upper()


def read(path: Path, *, options: ReadOptions) -> Image:
    """Read one resolution level of the image.

    Raises
    ------
    ImageReadError
        The folder has no multiscale image, is damaged, or the image is too large.
    """
    arrays, described = opened(path)
    fitting = (i for i, array in enumerate(arrays) if array.nbytes <= MAX_BYTES)
    level = options.level if options.level is not None else next(fitting, len(arrays) - 1)
    if level >= len(arrays):
        raise ImageReadError(f"Cannot read {path}: it has no resolution level {level}; there are {len(arrays)}.")
    try:
        _check(arrays[level])
        pixels = np.asarray(arrays[level][...])
    except ImageReadError as error:
        raise ImageReadError(f"Cannot read {path}: {error}.") from error.__cause__
    except Exception as error:  # as do damaged chunks
        text = " ".join(str(error).split())[:200]
        raise ImageReadError(f"Cannot read {path}: its data is damaged ({text}).") from error
    pixels, axes = samples_last(pixels, described.letters)
    size_um = pixel_size_um(described, level)
    return Image(pixels=pixels, axes=axes, pixel_size_um=size_um, path=path, options=options)


def size(path: Path) -> tuple[int, int]:
    """Return height and width of the finest level, px."""
    arrays, _ = opened(path)
    return int(arrays[0].shape[-2]), int(arrays[0].shape[-1])


def planes(path: Path, *, options: ReadOptions) -> int:
    """Return the number of planes."""
    arrays, described = opened(path)
    stack = samples_last(Stack.stand_in(arrays[0].shape), described.letters)
    return Stack(*stack, options.channels is not None).planes


def opened(path: Path) -> tuple[list[Any], _Multiscale]:
    """Return the array of each level, the finest first, and what the folder says of them.

    Raises
    ------
    ImageReadError
        The folder has no multiscale image, or is damaged.
    """
    import zarr

    try:
        group = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        described = _Multiscale.model_validate(attributes.get("ome", attributes)["multiscales"][0])
        arrays = [group[dataset.path] for dataset in described.datasets]
        wrong = next((array for array in arrays if not isinstance(array, zarr.Array)), None)
    except Exception as error:  # damaged metadata makes zarr raise anything
        text = " ".join(str(error).split())[:200]
        raise ImageReadError(f"Cannot read {path}: it is not an OME-Zarr image, or damaged ({text}).") from error
    axes = described.letters
    if wrong is not None or any(array.ndim != len(axes) for array in arrays) or len(set(axes)) != len(axes):
        raise ImageReadError(f"Cannot read {path}: its axes are not those of its arrays.")
    if not axes.endswith("YX"):
        raise ImageReadError(f"Cannot read {path}: its last axes are not y and x; save it in the order of OME-Zarr.")
    return arrays, described


def _check(array: Any) -> None:
    """Refuse numbers that are no pixels, and what would take much memory for the bytes that are stored."""
    if array.dtype.kind not in "buif":
        raise ImageReadError(f"its pixels are {array.dtype}, not whole or real numbers")
    if min(array.shape) < 1:
        raise ImageReadError("it has no pixel")
    if array.nbytes > MAX_BYTES:
        raise ImageReadError(
            "it is too large to be read as a whole; choose a coarser level, or save it as 8 or 16 bits"
        )
    chunk = math.prod(array.chunks) * array.dtype.itemsize
    check_ratio(max(array.nbytes, chunk), array.nbytes_stored())


def pixel_size_um(described: _Multiscale, level: int) -> float | None:
    """Return the pixel size in um (geometric mean of y and x), or None if the file does not state it."""
    changes = described.datasets[level].changes
    scale = next((change.scale for change in changes if change.type == "scale"), None)
    unit = described.axes[-1].unit
    if scale is None or len(scale) < 2 or unit not in _UM:
        return None
    area = scale[-1] * scale[-2] * _UM[unit] ** 2
    return math.sqrt(area) if min(scale[-2:]) > 0 and 0 < area < math.inf else None

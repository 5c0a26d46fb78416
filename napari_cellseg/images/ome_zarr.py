"""Reads OME-Zarr (versions 0.4 and 0.5): the first multiscale image of a folder ``*.zarr``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.errors import ImageReadError
from napari_cellseg.images.image import Image
from napari_cellseg.images.limits import MAX_BYTES
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.tags import samples_last

__all__ = ["read", "size"]

_UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "": 1.0}


def read(path: Path, *, options: ReadOptions) -> Image:
    """Read one resolution level of the image.

    Raises
    ------
    ImageReadError
        The folder has no multiscale image, is damaged, or the image is too large.
    """
    arrays, described = _open(path)
    fitting = (i for i, array in enumerate(arrays) if array.nbytes <= MAX_BYTES)
    level = options.level if options.level is not None else next(fitting, len(arrays) - 1)
    if level >= len(arrays):
        raise ImageReadError(f"Cannot read {path}: it has no resolution level {level}; there are {len(arrays)}.")
    if arrays[level].nbytes > MAX_BYTES:
        raise ImageReadError(f"Cannot read {path}: level {level} is too large; choose a coarser one.")
    axes = "".join(_axis_name(axis).upper() for axis in described["axes"])
    try:
        pixels = np.asarray(arrays[level][...])
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageReadError(f"Cannot read {path}: its data is damaged ({error}).") from error
    pixels, axes = samples_last(pixels, axes)
    size_um = _pixel_size_um(described, level)
    return Image(pixels=pixels, axes=axes, pixel_size_um=size_um, path=path, options=options)


def size(path: Path) -> tuple[int, int]:
    """Return height and width of the finest level, px."""
    arrays, _ = _open(path)
    return int(arrays[0].shape[-2]), int(arrays[0].shape[-1])


def _open(path: Path) -> tuple[list[Any], dict[str, Any]]:
    import zarr

    try:
        group = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        described = attributes.get("ome", attributes)["multiscales"][0]
        arrays = [group[dataset["path"]] for dataset in described["datasets"]]
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ImageReadError(f"Cannot read {path}: it is not an OME-Zarr image ({error}).") from error
    if not arrays or arrays[0].ndim != len(described.get("axes", ())):
        raise ImageReadError(f"Cannot read {path}: its axes are not those of an OME-Zarr image.")
    return arrays, described


def _axis_name(axis: Any) -> str:
    return str(axis["name"] if isinstance(axis, dict) else axis)


def _pixel_size_um(described: dict[str, Any], level: int) -> float | None:
    """Return the pixel size in um (geometric mean of y and x), or None if the file does not state it."""
    changes = described["datasets"][level].get("coordinateTransformations", [])
    scale = next((change["scale"] for change in changes if change.get("type") == "scale"), None)
    axis = described["axes"][-1]
    unit = axis.get("unit") if isinstance(axis, dict) else None
    if scale is None or unit not in _UM:
        return None
    return float(np.sqrt(scale[-1] * scale[-2]) * _UM[unit])

"""Small slides for the tests of the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile


def write_pyramid(path: Path, pixels: Any, levels: int = 3, tile: int = 64, **options: Any) -> Path:
    """Write a tiled pyramid of 0.25 um, each level every second pixel of the one before."""
    place: dict[str, Any] = {"resolutionunit": "CENTIMETER", "photometric": "rgb"} | options
    with tifffile.TiffWriter(path) as tif:
        for level in range(levels):
            tif.write(
                pixels[:: 2**level, :: 2**level],
                tile=(tile, tile),
                subifds=None if level or levels == 1 else levels - 1,
                subfiletype=1 if level else 0,
                resolution=(40_000 / 2**level,) * 2,
                metadata=None,
                **place,
            )
    return path


def damage_tile(path: Path, number: int) -> None:
    """Overwrite a tile of the finest level."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        offset, count = page.dataoffsets[number], page.databytecounts[number]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * count)


def write_zarr(
    path: Path,
    pixels: Any,
    axes: str = "cyx",
    *,
    levels: int = 3,
    chunk: int = 64,
    version: Any = "0.4",
    um: float = 0.25,
    **options: Any,
) -> Path:
    """Write an OME-Zarr of 0.25 um, each level every second pixel of the one before."""
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(levels):
        part = pixels[..., :: 2**level, :: 2**level]
        chunks = (*(1,) * (part.ndim - 2), chunk, chunk)
        array = root.create_array(str(level), shape=part.shape, chunks=chunks, dtype=part.dtype, **options)
        array[:] = part
        scale = [1.0] * (part.ndim - 2) + [um * 2**level] * 2
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    named = [{"name": axis, **({"type": "space", "unit": "micrometer"} if axis in "zyx" else {})} for axis in axes]
    image = {"axes": named, "datasets": datasets}
    if version == "0.4":
        root.attrs["multiscales"] = [{"version": version, **image}]
    else:
        root.attrs["ome"] = {"version": version, "multiscales": [image]}
    return path


def chunk_file(path: Path, place: tuple[int, ...], level: int = 0) -> Path:
    """Return the file of a chunk of an OME-Zarr."""
    import zarr

    array = zarr.open_group(path, mode="r")[str(level)]
    return path / str(level) / array.metadata.encode_chunk_key(place)

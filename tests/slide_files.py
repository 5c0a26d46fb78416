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

"""The overview of an image that is read by regions: it decides the brightness limits of every region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.images.image import Image
from napari_cellseg.images.levels import Level, StoredImage
from napari_cellseg.images.options import ReadOptions

__all__ = ["overview_of", "with_limits_note"]

OVERVIEW_PX = 4096
"""Longest side of the picture that decides the brightness limits of a slide."""


def overview_of(stored: StoredImage, levels: Sequence[Level], options: ReadOptions, *, skipped: int = 0) -> Image:
    """Return the finest of some levels that is small; without one, tiles from all over the coarsest.

    Parameters
    ----------
    stored : StoredImage
    levels : sequence of Level
        From the one that is read on.
    options : ReadOptions
    skipped : int
        Finer levels that do not fit into memory.

    Raises
    ------
    ImageReadError
        The level is damaged. The message is a clause without the path.
    """
    readable = [level for level in levels if not level.problem]
    small = [level for level in readable if max(level.size) <= OVERVIEW_PX]
    level = (small or readable[-1:])[0]
    pixels, axes = level.read((0, 0, *level.size[::-1])) if small else _sample(level)
    return Image(
        pixels=pixels,
        axes=axes,
        pixel_size_um=levels[0].pixel_size_um,
        path=stored.path,
        options=options,
        levels_skipped=skipped,
        stack=stored.stack,
        notes=stored.notes(),
    )


def with_limits_note(overview: Image) -> Image:
    """Return an overview that warns of its brightness limits if the image itself decided them."""
    scaling, (height, width) = overview.scaling, overview.size
    if scaling.source != "auto" or scaling.is_identity(overview.pixels.dtype):
        return overview
    note = f"its brightness limits {scaling} come from its overview of {height} x {width} px, for all of the image"
    return replace(overview, notes=(*overview.notes, note))


def _sample(level: Level) -> tuple[npt.NDArray[Any], str]:
    (height, width), (rows, columns) = level.size, level.tile
    tops, lefts = _spread(height, rows), _spread(width, columns)
    parts = [[level.read((x0, y0, x1, y1)) for x0, x1 in lefts] for y0, y1 in tops]
    axes = parts[0][0][1]
    y = axes.index("Y")
    strips = [np.concatenate([pixels for pixels, _ in row], axis=y + 1) for row in parts]
    return np.concatenate(strips, axis=y), axes


def _spread(length: int, tile: int) -> list[tuple[int, int]]:
    """Return start and end of tiles along a side: all of them up to `OVERVIEW_PX`, else as many evenly spread."""
    if tile > OVERVIEW_PX:  # strips are as wide as the image
        tile = max(1, OVERVIEW_PX // 8)
    tiles = -(-length // tile)
    chosen = np.unique(np.linspace(0, tiles - 1, max(1, min(tiles, OVERVIEW_PX // tile))).astype(int))
    return [(int(i) * tile, min((int(i) + 1) * tile, length)) for i in chosen]

"""Splits an image of any size into an even grid of overlapping tiles at the network's scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Tile", "from_the_middle", "is_plausible", "network_scale", "plan_tiles"]

_GRID = 32
"""Network px per coarsest feature."""
_PLAUSIBLE = 8.0
"""Largest plausible factor between the pixel sizes of image and model."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image and its size in the network.

    Attributes
    ----------
    box : (int, int, int, int)
        x0, y0, x1, y1 in image px, half-open.
    size : (int, int)
        Height and width in network px.
    inner : (bool, bool, bool, bool)
        Whether the left, top, right, bottom edge lies inside the image, so that cells may be cut by it.
    core : (int, int, int, int), optional
        The part of ``box`` up to the middle of each overlap: no other tile sees more around the cells in it.
    averages : bool
        Whether it is predicted in several views, whose cells are averaged.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    inner: tuple[bool, bool, bool, bool]
    core: tuple[int, int, int, int] | None = None
    averages: bool = False

    def depth(self, boxes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Return how far (N, 4) image boxes lie from the inner edges, (N,) px; negative if they reach across one."""
        x0, y0, x1, y1 = self.box
        edges = np.stack([boxes[:, 0] - x0, boxes[:, 1] - y0, x1 - boxes[:, 2], y1 - boxes[:, 3]])
        far = np.int64(np.iinfo(np.int32).max)
        depths: npt.NDArray[np.int64] = np.where(np.array(self.inner)[:, None], edges, far).min(0)
        return depths

    @property
    def scale(self) -> tuple[float, float]:
        """Network px per image px along x and y, exact for this tile."""
        x0, y0, x1, y1 = self.box
        return self.size[1] / (x1 - x0), self.size[0] / (y1 - y0)

    def cut(self, boxes: npt.NDArray[np.int32], margin: int) -> npt.NDArray[np.bool_]:
        """Return which of (N, 4) image boxes reach within ``margin`` px of an inner edge, (N,) bool."""
        near: npt.NDArray[np.bool_] = self.depth(boxes) < margin
        return near


def plan_tiles(image_size: tuple[int, int], tile: int, overlap: int, scale: float) -> list[Tile]:
    """Return the tiles of an image, row by row.

    There are as few tiles as ``tile`` px allow, and they are as small as their number allows and spread evenly: no
    sliver remains at the right or the bottom, and little is computed twice. Every cell that fits into the overlap lies
    completely in at least one tile. Tiles start on the grid of the network's coarsest features, so that a pixel has the
    same place in its feature in every tiling; otherwise its features would differ.

    Parameters
    ----------
    image_size : (int, int)
        Height and width, image px.
    tile, overlap : int
        Largest side of a tile and least overlap of neighbours, network px; half a tile is the most.
    scale : float
        Network px per image px.
    """
    rows = list(_spans(image_size[0], tile, overlap, scale))
    columns = list(_spans(image_size[1], tile, overlap, scale))
    middles = [_middles(rows), _middles(columns)]
    return [
        Tile(
            (x0, y0, x1, y1),
            (height, width),
            (x0 > 0, y0 > 0, x1 < image_size[1], y1 < image_size[0]),
            (left, top, right, bottom),
        )
        for (y0, y1, height), (top, bottom) in zip(rows, middles[0], strict=True)
        for (x0, x1, width), (left, right) in zip(columns, middles[1], strict=True)
    ]


def _middles(spans: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return for each span the middles of its overlaps with the spans before and after it."""
    inner = [(before[1] + after[0]) // 2 for before, after in pairwise(spans)]
    return list(zip([spans[0][0], *inner], [*inner, spans[-1][1]], strict=True))


def _spans(length: int, tile: int, overlap: int, scale: float) -> Iterator[tuple[int, int, int]]:
    """Yield (start, stop, network px) along one axis."""
    if length * scale <= tile:
        yield 0, length, max(1, round(length * scale))
        return
    whole, most = math.ceil(length * scale / _GRID), tile // _GRID  # grid steps
    shared = min(math.ceil(overlap / _GRID), most // 2)
    count = math.ceil((whole - shared) / (most - shared))
    steps = math.ceil((whole + (count - 1) * shared) / count)
    for first in np.linspace(0, whole - steps, count).astype(int).tolist():
        start, stop = round(first * _GRID / scale), min(length, round((first + steps) * _GRID / scale))
        size = steps * _GRID if first + steps < whole else max(1, round((stop - start) * scale))
        yield start, stop, size


def from_the_middle(
    groups: Sequence[Sequence[int]], tiles: Sequence[Tile], centre: tuple[float, float]
) -> list[Sequence[int]]:
    """Return groups of tiles, as indices, in the order of the distance of their nearest tile from a place.

    Parameters
    ----------
    groups : sequence of sequences of int
        One or more indices of ``tiles`` each.
    tiles : sequence of Tile
    centre : (float, float)
        y and x, px of the image; may lie outside the image.
    """

    def distance(i: int) -> float:
        x0, y0, x1, y1 = tiles[i].box
        return math.hypot((y0 + y1) / 2 - centre[0], (x0 + x1) / 2 - centre[1])

    return sorted(groups, key=lambda group: min(map(distance, group)))


def is_plausible(image_um: float, model_um: float) -> bool:
    """Return whether an image of this pixel size can be resized to that of the model."""
    return 1 / _PLAUSIBLE <= image_um / model_um <= _PLAUSIBLE


def network_scale(
    working_scale: float, model_um: float | None, image_um: float | None, wanted: float | None = None
) -> tuple[float, str]:
    """Return the scale of an image and the reason.

    Parameters
    ----------
    working_scale : float
        Scale of the model's training, network px per image px.
    model_um, image_um : float or None
        Pixel sizes of the training images and of this image.
    wanted : float, optional
        The user's choice, which has priority.

    Returns
    -------
    (float, str)
        The scale, network px per image px, and the reason.
    """
    if wanted is not None:
        return wanted, f"{wanted:g}, as chosen"
    if image_um is None:
        return working_scale, f"{working_scale:g}, the model's (pixel size of the image unknown)"
    if model_um is None:
        return working_scale, f"{working_scale:g}, the model's (it does not state the pixel size it was trained at)"
    factor = image_um / model_um
    if not is_plausible(image_um, model_um):  # resolutions in files are often left at 72 dpi
        return working_scale, f"{working_scale:g}, the model's (a pixel size of {image_um:g} um is implausible)"
    return working_scale * factor, f"{working_scale * factor:g}, from {image_um:g} um per px"

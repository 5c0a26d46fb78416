"""`SeamStream`: joins the cells of tiles while they arrive; the same cells as `merge_tiles` of all tiles.

A cell is final once no tile that is still to come can change it: neither it nor a cell that it depends on, directly or
through others, reaches into such a tile. Only the cells along the front of the finished tiles wait in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.instances import intersections
from napari_cellseg.model.inference.seams import join, shadowed
from napari_cellseg.model.inference.tiles import Tile

__all__ = ["SeamStream", "Settled"]

_REACH = 8
"""A mask may end this many px outside its tile, because it is resized to whole px of the image."""

Bools = npt.NDArray[np.bool_]
Pairs = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Settled:
    """What the arrival of a tile changed.

    Attributes
    ----------
    finished : TileCells
        Cells that are final; ``colours`` of joined cells are -1, because their pieces overlap.
    pieces : TileCells
        Cells of the new tile that wait for another.
    settled : (M, 2) int64
        Tile and place of the earlier pieces that no longer wait.
    """

    finished: TileCells
    pieces: TileCells
    settled: npt.NDArray[np.int64]


class SeamStream:
    """Joins tiles one by one.

    Parameters
    ----------
    tiles : sequence of Tile
        All tiles of the slide.
    image_size : (int, int)
        Height and width, px.
    iou, margin :
        As in `merge_tiles`.
    finished : iterable of int
        Tiles that have no cells, or whose cells were added before.
    pieces : TileCells, optional
        The cells of those tiles that wait.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        image_size: tuple[int, int],
        *,
        iou: float,
        margin: int,
        finished: Iterable[int] = (),
        pieces: TileCells | None = None,
    ) -> None:
        self._tiles, self._iou, self._margin = tiles, iou, margin
        self._boxes = np.array([tile.box for tile in tiles])
        self._is_waiting = np.ones(len(tiles), bool)
        self._is_waiting[list(finished)] = False
        self._open = TileCells.empty(image_size)
        self._cut = np.zeros(0, bool)
        self._waits = np.zeros(0, np.int64)  # for how many tiles each open cell waits
        self._group = np.zeros(0, np.int64)  # cells of one group depend on each other
        if pieces is not None:
            self._append(pieces)

    @property
    def waiting_cells(self) -> int:
        """The number of cells that wait for a tile."""
        return len(self._open)

    def add(self, number: int, cells: TileCells) -> Settled:
        """Add the cells of one tile; tiles must come in the order of the plan, so that ties are decided alike."""
        cells = cells.select(self._may_matter(number, cells))
        self._is_waiting[number] = False
        self._waits -= self._reach(self._open, number)
        before = len(self._open)
        self._append(cells)
        waits = np.zeros(int(self._group.max(initial=-1)) + 1, np.int64)
        np.maximum.at(waits, self._group, self._waits)
        is_open = waits[self._group] > 0
        new = np.arange(len(self._open)) >= before
        closed, pieces = self._open.select(~is_open), self._open.select(is_open & new)
        earlier = self._open.select(~is_open & ~new)
        self._open, self._cut = self._open.select(is_open), self._cut[is_open]
        self._waits = self._waits[is_open]
        self._group = np.unique(self._group[is_open], return_inverse=True)[1].astype(np.int64)
        return Settled(self._joined(closed), pieces, np.stack([earlier.tiles, earlier.places], 1))

    def _may_matter(self, number: int, cells: TileCells) -> Bools:
        """Return the cells that `join` does not drop by their place alone; most of those in an overlap are dropped."""
        tile = self._tiles[number]
        others = [self._tiles[i] for i in self._near(number)]
        return tile.cut(cells.cells.boxes, self._margin) | ~shadowed(tile, cells.cells.boxes, others, self._margin)

    def _near(self, number: int) -> list[int]:
        """Return the tiles that cells of a tile may reach, and the tile itself."""
        left, top, right, bottom = self._tiles[number].box
        low, high = np.array([left, top]) - 2 * _REACH, np.array([right, bottom]) + 2 * _REACH
        near = (self._boxes[:, :2] < high).all(1) & (self._boxes[:, 2:] > low).all(1)
        return [int(i) for i in np.flatnonzero(near)]

    def _reach(self, cells: TileCells, number: int) -> Bools:
        """Return which cells may meet a cell of a tile."""
        boxes = cells.cells.boxes
        low, high = self._boxes[number, :2] - 2 * _REACH, self._boxes[number, 2:] + 2 * _REACH
        sides = np.concatenate([boxes[:, :2] < high, boxes[:, 2:] > low], 1)
        return np.asarray(sides.all(1), bool)

    def _append(self, cells: TileCells) -> None:
        """Add cells of one or more finished tiles to the open ones."""
        before = len(self._open)
        waits = np.zeros(len(cells), np.int64)
        cut = np.zeros(len(cells), bool)
        for number in np.unique(cells.tiles).tolist():
            own = cells.tiles == number
            cut[own] = self._tiles[number].cut(cells.cells.boxes[own], self._margin)
            for other in self._near(number):
                if self._is_waiting[other]:
                    waits[own] += self._reach(cells.select(own), other)
        self._open = TileCells.concatenate([self._open, cells])
        self._cut, self._waits = np.concatenate([self._cut, cut]), np.concatenate([self._waits, waits])
        new = int(self._group.max(initial=-1)) + 1 + np.arange(len(cells))
        self._group = self._merged(np.concatenate([self._group, new]), self._links(before))

    def _links(self, before: int) -> Pairs:
        """Return the pairs of an open cell and a new one, from ``before`` on, of which one may decide about the other.

        They share pixels, and they are of two tiles or one of them is cut: then a piece joined in another tile may
        cover the other.
        """
        new = np.arange(before, len(self._open))
        boxes = self._open.cells.boxes
        if not len(new):
            return new, new
        low, high = boxes[new, :2].min(0), boxes[new, 2:].max(0)
        near = np.flatnonzero((boxes[:, :2] < high).all(1) & (boxes[:, 2:] > low).all(1))
        first, second, _ = intersections(self._open.cells.select(new), self._open.cells.select(near))
        first, second = new[first], near[second]
        tiles, cut = self._open.tiles, self._cut
        linked = (tiles[first] != tiles[second]) | cut[first] | cut[second]
        return first[linked], second[linked]

    @staticmethod
    def _merged(group: npt.NDArray[np.int64], links: Pairs) -> npt.NDArray[np.int64]:
        count = int(group.max(initial=-1)) + 1
        if not count:
            return group
        edges = coo_array((np.ones(len(links[0]), bool), (group[links[0]], group[links[1]])), (count, count))
        merged: npt.NDArray[np.int64] = connected_components(edges, directed=False)[1].astype(np.int64)[group]
        return merged

    def _joined(self, closed: TileCells) -> TileCells:
        """Return the final cells among closed ones, whose groups are complete."""
        if not len(closed):
            return closed
        order = np.lexsort((closed.places, closed.tiles))
        closed = closed.select(order)
        numbers = sorted({near for number in np.unique(closed.tiles).tolist() for near in self._near(number)})
        parts = [(self._tiles[number], closed.cells.select(closed.tiles == number)) for number in numbers]
        found = join(parts, iou=self._iou, margin=self._margin)
        colours = closed.colours[found.origins]
        colours[found.is_joined] = -1
        return TileCells(
            cells=found.cells,
            tiles=closed.tiles[found.origins],
            places=closed.places[found.origins],
            joined=found.is_joined,
            colours=colours,
        )

"""`TileCells`: cells of a slide, and the tiles that found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_cellseg.instances import InstanceMasks

__all__ = ["TileCells"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TileCells:
    """N cells of a prediction and where they come from.

    Attributes
    ----------
    cells : InstanceMasks
    tiles, places : (N,) int64
        The tile that found a cell, and its place among the cells of that tile; of a joined cell those of its first
        piece.
    joined : (N,) bool
        Whether the cell was joined from pieces in several tiles.
    colours : (N, 3) int64
        Sums of red, green and blue over the pixels of the cell.
    """

    cells: InstanceMasks
    tiles: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    joined: npt.NDArray[np.bool_]
    colours: npt.NDArray[np.int64]

    @classmethod
    def of_tile(cls, number: int, cells: InstanceMasks, colours: npt.NDArray[np.int64]) -> TileCells:
        """Return the cells of one tile, in their order."""
        count = len(cells)
        return cls(
            cells=cells,
            tiles=np.full(count, number, np.int64),
            places=np.arange(count, dtype=np.int64),
            joined=np.zeros(count, bool),
            colours=np.asarray(colours, np.int64).reshape(-1, 3),
        )

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> TileCells:
        """Return no cells of an image."""
        return cls.of_tile(0, InstanceMasks.empty(image_size), np.zeros((0, 3), np.int64))

    @classmethod
    def concatenate(cls, parts: Sequence[TileCells]) -> TileCells:
        """Concatenate cells of one image."""
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return cls(cells=InstanceMasks.concatenate([part.cells for part in parts]), **arrays)

    def __len__(self) -> int:
        return len(self.cells)

    def select(self, index: npt.ArrayLike) -> TileCells:
        """Return the cells of an integer index (M,) or a bool index (N,), in that order."""
        return TileCells(cells=self.cells.select(index), **{name: getattr(self, name)[index] for name in _ARRAYS})


_ARRAYS = ("tiles", "places", "joined", "colours")

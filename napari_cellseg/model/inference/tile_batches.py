"""Predicts tiles of a slide batch by batch: read ahead in a thread, glass left out, seams not joined yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_cellseg.formats.cell_store import TileState
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.images.slide import Slide
from napari_cellseg.images.tissue import White, is_glass
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.memory import return_free_memory
from napari_cellseg.model.inference.predictor import TILES_TO_TRIM, Predictor, read_crops
from napari_cellseg.model.inference.tiles import Tile

__all__ = ["TileBatch", "TileJob", "predicted_batches"]

_READ_AHEAD = 2
"""Batches that are read before they are needed."""

Crops = list[npt.NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class TileJob:
    """Tiles of a slide that are to be predicted; can be sent to another process.

    Attributes
    ----------
    tiles : mapping of int to Tile
        By their number in the plan.
    batches : sequence of sequence of int
        The numbers of the tiles that are predicted together.
    size : (int, int)
        Height and width of the slide, px.
    white : (3,) float32, optional
        The colour of the empty slide: a tile that is as bright everywhere is glass. None if glass is not looked for.
    """

    tiles: Mapping[int, Tile]
    batches: Sequence[Sequence[int]]
    size: tuple[int, int]
    white: White | None = None

    def parts(self, batches: int) -> Iterator[TileJob]:
        """Yield jobs of up to so many batches each, in the same order."""
        for start in range(0, len(self.batches), batches):
            some = self.batches[start : start + batches]
            yield TileJob({i: self.tiles[i] for batch in some for i in batch}, some, self.size, self.white)


@dataclass(frozen=True, eq=False)
class TileBatch:
    """A batch of tiles after its prediction; ``cells`` has those of the tiles that are not glass."""

    states: Mapping[int, TileState]
    cells: Mapping[int, TileCells]


def predicted_batches(predictor: Predictor, slide: Slide, job: TileJob) -> Generator[TileBatch, None, None]:
    """Yield the batches of a job in their order.

    Raises
    ------
    ImageReadError
        A tile of the file is damaged.
    """
    since_trim = 0
    for numbers, crops in _read_ahead(slide, job):
        pixels = dict(zip(numbers, crops, strict=True))
        states: dict[int, TileState] = {
            number: "glass" if job.white is not None and is_glass(crop, job.white) else "done"
            for number, crop in pixels.items()
        }
        shown = [number for number in numbers if states[number] == "done"]
        tiles = [job.tiles[number] for number in shown]
        found = predictor.cells_of([pixels[number] for number in shown], tiles, job.size) if shown else []
        yield TileBatch(
            states,
            {
                number: _with_colours(number, cells, pixels[number], job.tiles[number])
                for number, cells in zip(shown, found, strict=True)
            },
        )
        since_trim += len(numbers)
        if since_trim >= TILES_TO_TRIM:
            return_free_memory()
            since_trim = 0


def _with_colours(number: int, cells: InstanceMasks, crop: npt.NDArray[np.uint8], tile: Tile) -> TileCells:
    """Return the cells of a tile with the sums of their colours; -1 for one that reaches beyond the tile."""
    left, top, right, bottom = tile.box
    colours = np.full((len(cells), 3), -1, np.int64)
    for i, ((x0, y0, x1, y1), mask) in enumerate(zip(cells.boxes.tolist(), cells.masks, strict=True)):
        if left <= x0 and top <= y0 and x1 <= right and y1 <= bottom:
            colours[i] = crop[y0 - top : y1 - top, x0 - left : x1 - left][mask].sum(0, dtype=np.int64)
    return TileCells.of_tile(number, cells, colours)


def _read_ahead(slide: Slide, job: TileJob) -> Iterator[tuple[Sequence[int], Crops]]:
    """Yield batches of tiles with their pixels, which one thread reads while the one before is predicted."""
    waiting = deque(job.batches)
    reading: deque[tuple[Sequence[int], Future[Crops]]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="slide reader") as reader:
        try:
            while waiting or reading:
                while waiting and len(reading) < _READ_AHEAD:
                    batch = waiting.popleft()
                    reading.append((batch, reader.submit(read_crops, slide, [job.tiles[i] for i in batch])))
                batch, crops = reading.popleft()
                yield batch, crops.result()
        finally:
            reader.shutdown(cancel_futures=True)

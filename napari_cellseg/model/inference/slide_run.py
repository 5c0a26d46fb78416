"""Predicts a slide tile by tile: read ahead in a thread, cells on disk after each batch, resumed after a kill."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.atomic import set_aside, write_errors
from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import Message, SlideDone, SlideTileDone
from napari_cellseg.formats.cell_store import CellStore, TileState
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.images.slide import Slide
from napari_cellseg.images.tissue import White, glass_boxes, is_glass, white_of
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.memory import return_free_memory
from napari_cellseg.model.inference.predict_item import SlideTask
from napari_cellseg.model.inference.predictor import TILES_TO_TRIM, Predictor, read_crops
from napari_cellseg.model.inference.seam_stream import SeamStream
from napari_cellseg.model.inference.slide_region import SlideRegion
from napari_cellseg.model.inference.tiles import Tile

__all__ = ["image_stamp", "opened_store", "predict_slide"]

_READ_AHEAD = 2
"""Batches that are read before they are needed."""
_SAMPLE = 5000
_HASHED_BYTES = 2**20

Crops = list[npt.NDArray[np.uint8]]


def predict_slide(
    predictor: Predictor,
    slide: Slide,
    task: SlideTask,
    made_from: Mapping[str, Any],
    pixel_size_um: float | None = None,
    *,
    place: tuple[int, int] = (1, 1),
    image_id: str = "",
) -> Generator[SlideTileDone | Message, None, tuple[SlideDone, InstanceMasks]]:
    """Predict the tiles that the store of a slide lacks; stops at the next batch when closed.

    Parameters
    ----------
    predictor : Predictor
    slide : Slide
    task : SlideTask
    made_from : mapping
        JSON values on which the cells depend, by the words of messages; see `opened_store`.
    pixel_size_um : float, optional
        Pixel size of the level that is read.
    place : (int, int)
        Number of this image and of all images, 1-based, for the events.
    image_id : str
        For the events.

    Yields
    ------
    SlideTileDone
        After each batch of tiles, when its cells are on disk.

    Returns
    -------
    (SlideDone, InstanceMasks)
        ``seconds`` is 0; the best cells, a sample for statistics.

    Raises
    ------
    ConfigError
        The region lies outside the slide.
    ImageReadError
        A tile of the file is damaged.
    ExportError
        The store cannot be written, or is open in another process.
    """
    size = slide.shape[:2]
    region = SlideRegion(task.region, size, slide.full_size)
    with opened_store(task.store, size, made_from) as (store, text):
        if text:
            yield Message("info", f"{image_id}: {text}")
        if not store.is_complete:
            yield from _SlideRun(predictor, slide, task, region, store, pixel_size_um).predict(place)
        states = list(store.tiles().values())
        sample = next(store.best_first(_SAMPLE), TileCells.empty(size)).cells
        done = SlideDone(
            image=place[0],
            images=place[1],
            image_id=image_id,
            store=task.store,
            cells=len(store),
            tiles=len(states) - states.count("outside"),
            glass=states.count("glass"),
            pixel_size_um=slide.pixel_size_um,
            seconds=0.0,
        )
    return done, sample


class _SlideRun:
    """The state of a run: the plan, which tiles are finished, and the cells that wait for a tile."""

    def __init__(
        self,
        predictor: Predictor,
        slide: Slide,
        task: SlideTask,
        region: SlideRegion,
        store: CellStore,
        pixel_size_um: float | None,
    ) -> None:
        self._predictor, self._slide, self._store = predictor, slide, store
        self._size = slide.shape[:2]
        self._tiles, groups, margin = predictor.plan(self._size, pixel_size_um)
        self._region = region
        self._white = white_of(slide.overview.rgb()) if task.skips_glass else None
        finished = store.tiles()
        if not finished:
            finished = self._skipped()
            store.add(finished, TileCells.empty(self._size), TileCells.empty(self._size))
        self._groups = [[i for i in group if i not in finished] for group in groups]
        self._stream = SeamStream(
            self._tiles, self._size, iou=predictor.nms, margin=margin, finished=finished, pieces=store.pieces()
        )
        self._um2 = None if pixel_size_um is None else pixel_size_um**2
        had_pixels = ("done",) if slide.coarse is not None else ("done", "glass")
        predicted = [i for i, state in finished.items() if state in had_pixels]
        self._done, self._to_do = len(predicted), sum(map(len, self._groups))
        self._px_done, self._px_to_do = self._area(predicted), self._area(i for group in self._groups for i in group)

    def _skipped(self) -> dict[int, TileState]:
        """Return the tiles that need no prediction as far as the region and a coarse level tell, and why."""
        skipped: dict[int, TileState] = {
            i: "outside" for i, tile in enumerate(self._tiles) if not self._region.touches(tile.box)
        }
        if self._white is not None and self._slide.coarse is not None:
            rest = [i for i in range(len(self._tiles)) if i not in skipped]
            glass = glass_boxes(self._slide, [self._tiles[i].box for i in rest], self._white)
            skipped.update({i: "glass" for i, is_empty in zip(rest, glass, strict=True) if is_empty})
        return skipped

    def _area(self, numbers: Iterable[int]) -> int:
        """Return the pixels of tiles, those of an overlap once."""
        cores = [self._tiles[i].core or self._tiles[i].box for i in numbers]
        return sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in cores)

    def predict(self, place: tuple[int, int]) -> Generator[SlideTileDone, None, None]:
        start, at_start = time.monotonic(), self._done
        since_trim = 0
        for group, crops in self._read_ahead([group for group in self._groups if group]):
            states = self._states(group, crops)
            cells = self._predict(group, crops, states)
            self._done += len(group)
            self._to_do -= len(group)
            self._px_done, self._px_to_do = self._px_done + self._area(group), self._px_to_do - self._area(group)
            per_tile = (time.monotonic() - start) / (self._done - at_start)
            yield SlideTileDone(
                image=place[0],
                images=place[1],
                tile=self._done,
                tiles=self._done + self._to_do,
                cells=cells,
                mm2=None if self._um2 is None else self._px_done * self._um2 / 1e6,
                mm2_in_all=None if self._um2 is None else (self._px_done + self._px_to_do) * self._um2 / 1e6,
                seconds_left=per_tile * self._to_do,
            )
            since_trim += len(group)
            if since_trim >= TILES_TO_TRIM:
                return_free_memory()
                since_trim = 0
        self._store.finish()

    def _states(self, group: Sequence[int], crops: Crops) -> dict[int, TileState]:
        """Return which tiles are predicted; without a coarse level, the pixels of a tile tell whether it is glass."""
        white: White | None = None if self._slide.coarse is not None else self._white
        return {
            number: "glass" if white is not None and is_glass(crop, white) else "done"
            for number, crop in zip(group, crops, strict=True)
        }

    def _predict(self, group: Sequence[int], crops: Crops, states: Mapping[int, TileState]) -> int:
        """Predict a batch and write it to the store in one transaction; return the number of its cells."""
        shown = [i for i, number in enumerate(group) if states[number] == "done"]
        tiles = [self._tiles[group[i]] for i in shown]
        cells = self._predictor.cells_of([crops[i] for i in shown], tiles, self._size) if shown else []
        found = dict(zip((group[i] for i in shown), zip(cells, [crops[i] for i in shown], strict=True), strict=True))
        finished, pieces, settled = [], [], []
        for number in group:
            added = TileCells.empty(self._size)
            if number in found:
                added = _with_colours(number, *found[number], self._tiles[number])
            after = self._stream.add(number, added)
            finished.append(after.finished)
            pieces.append(after.pieces)
            settled += [(int(tile), int(at)) for tile, at in after.settled.tolist()]
        final = TileCells.concatenate(finished)
        final = self._coloured(final.select(self._region.keeps(final.cells)))
        self._store.add(states, final, TileCells.concatenate(pieces), settled)
        return sum(map(len, cells))

    def _coloured(self, cells: TileCells) -> TileCells:
        """Add the colours of the few cells that one tile alone could not see."""
        colours = cells.colours.copy()
        for i in np.flatnonzero(colours[:, 0] < 0).tolist():
            x0, y0, x1, y1 = cells.cells.boxes[i].tolist()
            colours[i] = self._slide[y0:y1, x0:x1][cells.cells.masks[i]].sum(0, dtype=np.int64)
        return replace(cells, colours=colours)

    def _read_ahead(self, groups: Sequence[Sequence[int]]) -> Iterator[tuple[Sequence[int], Crops]]:
        """Yield batches of tiles with their pixels, which one thread reads while the one before is predicted."""
        waiting = deque(groups)
        reading: deque[tuple[Sequence[int], Future[Crops]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="slide reader") as reader:
            try:
                while waiting or reading:
                    while waiting and len(reading) < _READ_AHEAD:
                        group = waiting.popleft()
                        tiles = [self._tiles[i] for i in group]
                        reading.append((group, reader.submit(read_crops, self._slide, tiles)))
                    group, crops = reading.popleft()
                    yield group, crops.result()
            finally:
                reader.shutdown(cancel_futures=True)


def _with_colours(number: int, cells: InstanceMasks, crop: npt.NDArray[np.uint8], tile: Tile) -> TileCells:
    """Return the cells of a tile with the sums of their colours; -1 for one that reaches beyond the tile."""
    left, top, right, bottom = tile.box
    colours = np.full((len(cells), 3), -1, np.int64)
    for i, ((x0, y0, x1, y1), mask) in enumerate(zip(cells.boxes.tolist(), cells.masks, strict=True)):
        if left <= x0 and top <= y0 and x1 <= right and y1 <= bottom:
            colours[i] = crop[y0 - top : y1 - top, x0 - left : x1 - left][mask].sum(0, dtype=np.int64)
    return TileCells.of_tile(number, cells, colours)


@contextmanager
def opened_store(path: Path, size: tuple[int, int], made_from: Mapping[str, Any]) -> Iterator[tuple[CellStore, str]]:
    """Open the store of an earlier run with the same settings, or a new one; yield it and a message for the user.

    A file with other settings, or one that cannot be read, is kept as ``.bak`` unless its run was finished.

    Parameters
    ----------
    path : Path
    size : (int, int)
        Height and width of the slide, px.
    made_from : mapping
        JSON values on which the cells depend, by the words of the message.

    Raises
    ------
    ExportError
        The file is open in another process, or cannot be written.
    """
    store, text = _earlier(path, size, made_from)
    with store if store is not None else CellStore.create(path, size, {"made_from": dict(made_from)}) as opened:
        yield opened, text


def _earlier(path: Path, size: tuple[int, int], made_from: Mapping[str, Any]) -> tuple[CellStore | None, str]:
    if not path.exists():
        return None, ""
    try:
        store = CellStore.open(path)
    except AnnotationError as error:
        return None, f"{error} {_kept(path)}"
    before = store.facts.get("made_from", {})
    if before == made_from and store.image_size == tuple(size):
        done = len(store.tiles())
        if store.is_complete:
            return store, f"the cells of {path}, a finished run with the same settings, are used"
        return store, f"the run is resumed after {done:,} tiles, from {path}"
    different = [name for name in {**before, **made_from} if before.get(name) != made_from.get(name)]
    is_complete = store.is_complete
    store.close()
    what = f"{path} is of a run with another value of: {', '.join(different) or 'image size'}"
    if not is_complete:
        return None, f"{what}. {_kept(path)}"
    with write_errors(path):
        path.unlink()
    return None, f"{what}. It is replaced."


def _kept(path: Path) -> str:
    with write_errors(path):
        kept = set_aside(path)
    name = path.name if kept is None else kept.name
    return f"It is kept as {name}, and the slide is predicted from the start."


def image_stamp(path: Path) -> dict[str, Any]:
    """Return what tells one file from another without reading all of it: its size, and a hash of both ends."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_HASHED_BYTES))
        file.seek(max(0, size - _HASHED_BYTES))
        digest.update(file.read(_HASHED_BYTES))
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}

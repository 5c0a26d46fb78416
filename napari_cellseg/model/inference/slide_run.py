"""Predicts a slide tile by tile: seams joined as tiles arrive, cells on disk after each batch, resumed after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from math import ceil, hypot
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from napari_cellseg.atomic import write_errors
from napari_cellseg.errors import AnnotationError
from napari_cellseg.events import Message, SlideDone, SlideTileDone
from napari_cellseg.formats.cell_file import is_blank, set_database_aside
from napari_cellseg.formats.cell_store import CellStore, TileState
from napari_cellseg.formats.decisions_file import decisions_file
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.images.slide import Slide
from napari_cellseg.images.tissue import glass_boxes, white_of
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.inference.predict_item import Ring, SlideTask
from napari_cellseg.model.inference.seam_stream import SeamStream
from napari_cellseg.model.inference.slide_region import SlideRegion
from napari_cellseg.model.inference.tile_batches import TileBatch, TileJob
from napari_cellseg.model.inference.tile_plan import TilePlan

__all__ = ["PredictTiles", "opened_store", "predict_slide"]

_SAMPLE = 5000

PredictTiles = Callable[[TileJob], Generator[TileBatch, None, None]]


def predict_slide(
    plan: TilePlan,
    slide: Slide,
    task: SlideTask,
    predict: PredictTiles,
    made_from: Mapping[str, Any],
    pixel_size_um: float | None = None,
    *,
    place: tuple[int, int] = (1, 1),
    image_id: str = "",
    about: Mapping[str, Any] = MappingProxyType({}),
) -> Generator[SlideTileDone | Message, None, tuple[SlideDone, InstanceMasks]]:
    """Predict the tiles that the store of a slide lacks; stops at the next batch when closed.

    Parameters
    ----------
    plan : TilePlan
    slide : Slide
    task : SlideTask
    predict : callable
        Yields the batches of a job in their order; closed when the work stops.
    made_from : mapping
        JSON values on which the cells depend, by the words of messages; see `opened_store`.
    pixel_size_um : float, optional
        Pixel size of the level that is read.
    place : (int, int)
        Number of this image and of all images, 1-based, for the events.
    image_id : str
        For the events.
    about : mapping of str to JSON values, optional
        What a new store states of the model, for who reads the store.

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
    with opened_store(task.store, size, made_from, about, keeps_finished=bool(task.part)) as (store, text):
        if text:
            yield Message("info", f"{image_id}: {text}")
        waiting = 0
        if not store.is_complete:
            waiting = yield from _SlideRun(plan, slide, task, region, store, pixel_size_um).predict(predict, place)
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
            waiting=waiting,
        )
    return done, sample


class _SlideRun:
    """The state of a run: the plan, which tiles are finished, and the cells that wait for a tile."""

    def __init__(
        self,
        plan: TilePlan,
        slide: Slide,
        task: SlideTask,
        region: SlideRegion,
        store: CellStore,
        pixel_size_um: float | None,
    ) -> None:
        self._slide, self._store = slide, store
        self._size = slide.shape[:2]
        self._tiles, groups, margin = plan.plan(self._size, pixel_size_um)
        self._region = region
        self._white = white_of(slide.overview.rgb()) if task.skips_glass else None
        finished = store.tiles()
        if not finished:
            finished = self._skipped()
            store.add(finished, TileCells.empty(self._size), TileCells.empty(self._size))
        self._groups = [[i for i in group if i not in finished] for group in groups]
        self._waiting = 0
        if task.part:
            left = sum(map(len, self._groups))
            self._groups = self._of_part(
                groups, self._groups, task.part, ceil(plan.options.overlap / plan.scale(pixel_size_um)[0])
            )
            self._waiting = left - sum(map(len, self._groups))
        if task.first is not None:
            self._groups.sort(key=self._distance_to(task.first))
        self._stream = SeamStream(
            self._tiles, self._size, iou=plan.nms, margin=margin, finished=finished, pieces=store.pieces()
        )
        self._um2 = None if pixel_size_um is None else pixel_size_um**2
        had_pixels = ("done",) if slide.coarse is not None else ("done", "glass")
        predicted = [i for i, state in finished.items() if state in had_pixels]
        self._done, self._to_do = len(predicted), sum(map(len, self._groups))
        store.note(planned=len(self._tiles), to_predict=self._done + self._to_do + self._waiting)  # see `tiles_done`
        self._px_done, self._px_to_do = self._area(predicted), self._area(i for group in self._groups for i in group)

    def _of_part(self, groups: list[range], left: list[list[int]], part: Ring, reach: int) -> list[list[int]]:
        """Return what is left of the batches with a tile within ``reach``, px, of a part of the slide.

        A cell of the part may reach that far into a tile; it would wait for it. Batches stay whole: see `TilePlan`.
        """
        near = SlideRegion(((part,),), self._size, self._slide.full_size)

        def is_near(number: int) -> bool:
            x0, y0, x1, y1 = self._tiles[number].box
            return near.touches((x0 - reach, y0 - reach, x1 + reach, y1 + reach))

        return [rest for group, rest in zip(groups, left, strict=True) if rest and any(map(is_near, group))]

    def _distance_to(self, place: tuple[float, float]) -> Callable[[list[int]], float]:
        """Return how far a batch of tiles is from a place, x and y in px of level 0."""
        x, y = (
            value * there / full
            for value, there, full in zip(place, self._size[::-1], self._slide.full_size[::-1], strict=True)
        )

        def distance(batch: list[int]) -> float:
            boxes = [self._tiles[i].box for i in batch]
            return min((hypot((x0 + x1) / 2 - x, (y0 + y1) / 2 - y) for x0, y0, x1, y1 in boxes), default=0.0)

        return distance

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

    def predict(self, predict: PredictTiles, place: tuple[int, int]) -> Generator[SlideTileDone, None, int]:
        """Predict what is left of the part, or of the slide; return the number of tiles that wait for another run."""
        start, at_start = time.monotonic(), self._done
        with closing(predict(self._job())) as batches:
            for batch in batches:
                self._store_batch(batch)
                area = self._area(batch.states)
                self._done, self._to_do = self._done + len(batch.states), self._to_do - len(batch.states)
                self._px_done, self._px_to_do = self._px_done + area, self._px_to_do - area
                per_tile = (time.monotonic() - start) / (self._done - at_start)
                yield SlideTileDone(
                    image=place[0],
                    images=place[1],
                    tile=self._done,
                    tiles=self._done + self._to_do,
                    cells=sum(map(len, batch.cells.values())),
                    mm2=None if self._um2 is None else self._px_done * self._um2 / 1e6,
                    mm2_in_all=None if self._um2 is None else (self._px_done + self._px_to_do) * self._um2 / 1e6,
                    seconds_left=per_tile * self._to_do,
                )
        if not self._waiting:
            self._store.finish()
        return self._waiting

    def _job(self) -> TileJob:
        """Return the tiles to predict; without a coarse level, the pixels of a tile tell whether it is glass."""
        groups = [tuple(group) for group in self._groups if group]
        white = None if self._slide.coarse is not None else self._white
        return TileJob({i: self._tiles[i] for group in groups for i in group}, groups, self._size, white)

    def _store_batch(self, batch: TileBatch) -> None:
        """Join a batch with the cells before it, and write it to the store in one transaction."""
        finished, pieces, settled = [], [], []
        for number in batch.states:
            after = self._stream.add(number, batch.cells.get(number, TileCells.empty(self._size)))
            finished.append(after.finished)
            pieces.append(after.pieces)
            settled += [(int(tile), int(at)) for tile, at in after.settled.tolist()]
        final = TileCells.concatenate(finished)
        final = self._coloured(final.select(self._region.keeps(final.cells)))
        self._store.add(batch.states, final, TileCells.concatenate(pieces), settled)

    def _coloured(self, cells: TileCells) -> TileCells:
        """Add the colours of the few cells that one tile alone could not see."""
        colours = cells.colours.copy()
        for i in np.flatnonzero(colours[:, 0] < 0).tolist():
            x0, y0, x1, y1 = cells.cells.boxes[i].tolist()
            colours[i] = self._slide[y0:y1, x0:x1][cells.cells.masks[i]].sum(0, dtype=np.int64)
        return replace(cells, colours=colours)


@contextmanager
def opened_store(
    path: Path,
    size: tuple[int, int],
    made_from: Mapping[str, Any],
    about: Mapping[str, Any] = MappingProxyType({}),
    *,
    keeps_finished: bool = False,
) -> Iterator[tuple[CellStore, str]]:
    """Open the store of an earlier run with the same settings, or a new one; yield it and a message for the user.

    A file with other settings, or one that cannot be read, is kept as ``.bak`` unless its run was finished and no one
    decided about its cells.

    Parameters
    ----------
    path : Path
    size : (int, int)
        Height and width of the slide, px.
    made_from : mapping
        JSON values on which the cells depend, by the words of the message.
    about : mapping of str to JSON values, optional
        Recorded in a new store.
    keeps_finished : bool
        Whether a finished file with other settings is kept too: this run may be of a part of the slide.

    Raises
    ------
    ExportError
        The file is open in another process, or cannot be written.
    """
    store, text = _earlier(path, size, made_from, keeps_finished=keeps_finished)
    facts = {"made_from": dict(made_from), **about}
    with store if store is not None else CellStore.create(path, size, facts) as opened:
        yield opened, text


def _earlier(
    path: Path, size: tuple[int, int], made_from: Mapping[str, Any], *, keeps_finished: bool
) -> tuple[CellStore | None, str]:
    if not path.exists() or is_blank(path):
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
    if keeps_finished or not is_complete or decisions_file(path).exists():
        return None, f"{what}. {_kept(path)}"
    with write_errors(path):
        path.unlink()
    return None, f"{what}. It is replaced."


def _kept(path: Path) -> str:
    with write_errors(path):
        kept = set_database_aside(path)
    name = path.name if kept is None else kept.name
    return f"It is kept as {name}, and the slide is predicted from the start."

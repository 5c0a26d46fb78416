"""`CellStore`: the cells of one slide in an SQLite file, written tile by tile and read by score or by region.

A kill loses at most the tiles that were not committed. Three tables hold the cells:

- ``tile``: the finished tiles of the plan, and why a tile was not predicted;
- ``piece``: cells that reach into a tile that is not finished, so that they may be joined with others;
- ``cell``: finished cells, with their boxes in the R-tree ``cell_box``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from napari_cellseg.atomic import write_errors
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.cell_file import (
    HEADER,
    VERSION_AND_KIND,
    closed_if_it_fails,
    connected,
    is_blank,
    locked,
    set_database_aside,
)
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.formats.writer_lock import WriterLock
from napari_cellseg.instances import InstanceMasks

__all__ = ["CellStore", "TileState", "damaged_words", "mask_of"]

TileState = Literal["done", "glass", "outside"]
"""Whether a tile was predicted; else why not."""

_BATCH = 1024
_LONGEST_SIDE = 10_000_000

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tile (number INTEGER PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE piece (
    tile INTEGER NOT NULL, place INTEGER NOT NULL, class_id INTEGER NOT NULL, score REAL NOT NULL,
    x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL, y1 INTEGER NOT NULL, mask BLOB NOT NULL,
    red INTEGER NOT NULL, green INTEGER NOT NULL, blue INTEGER NOT NULL, PRIMARY KEY (tile, place)
) WITHOUT ROWID;
CREATE TABLE cell (
    id INTEGER PRIMARY KEY, joined INTEGER NOT NULL,
    tile INTEGER NOT NULL, place INTEGER NOT NULL, class_id INTEGER NOT NULL, score REAL NOT NULL,
    x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL, y1 INTEGER NOT NULL, mask BLOB NOT NULL,
    red INTEGER NOT NULL, green INTEGER NOT NULL, blue INTEGER NOT NULL
);
CREATE VIRTUAL TABLE cell_box USING rtree_i32 (id, x0, x1, y0, y1);
"""
_COLUMNS = "tile, place, class_id, score, x0, y0, x1, y1, mask, red, green, blue"
_BEST_FIRST = "ORDER BY score DESC, joined, tile, place"


class CellStore:
    """The cells of one slide on disk; use it in a ``with`` block.

    Parameters
    ----------
    path : Path
        The SQLite file; see `create` and `open`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: WriterLock | None = None) -> None:
        self.path = path
        self._database = connection
        self._lock = lock

    @classmethod
    def create(cls, path: Path, image_size: tuple[int, int], facts: Mapping[str, Any]) -> CellStore:
        """Make an empty store; an existing file is kept as ``.bak``.

        Parameters
        ----------
        path : Path
            Its folder is created.
        image_size : (int, int)
            Height and width of the slide, px.
        facts : mapping
            JSON values: what the cells depend on; see `facts`.

        Raises
        ------
        ExportError
            The file cannot be written.
        """
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        lock = locked(path)
        try:
            return cls._created(path, lock, {**facts, "image_size": list(image_size), "complete": False})
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _created(cls, path: Path, lock: WriterLock, facts: Mapping[str, Any]) -> CellStore:
        with write_errors(path):
            if path.exists() and not is_blank(path):
                set_database_aside(path)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        with _errors(path), closed_if_it_fails(connected(path)) as database:
            database.execute("PRAGMA journal_mode = WAL")  # keeps finished transactions after a kill
            with database:  # in one transaction: a kill leaves all of it, or a file that is blank
                database.execute("BEGIN")
                for statement in (*HEADER, *_SCHEMA.split(";")):
                    database.execute(statement)
                database.executemany(
                    "INSERT INTO facts VALUES (?, ?)", [(name, json.dumps(value)) for name, value in facts.items()]
                )
        return cls(path, database, lock)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> CellStore:
        """Open the store of an earlier run; ``read_only`` for one that is complete.

        Raises
        ------
        AnnotationError
            The file is not such a store, or is damaged.
        ExportError
            It is open in another process.
        """
        if not path.is_file():  # SQLite would make one
            raise AnnotationError(f"Cannot read {path}: there is no such file.")
        lock = None if read_only else locked(path)
        try:
            return cls._opened(path, lock, read_only=read_only)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    @classmethod
    def _opened(cls, path: Path, lock: WriterLock | None, *, read_only: bool) -> CellStore:
        try:
            with closed_if_it_fails(connected(path, read_only=read_only)) as database:
                cls.check(path, database)
                store = cls(path, database, lock)
                is_complete = bool(store._facts()["complete"])
                _ = store.image_size
                if not read_only:  # a complete file has no log, so that it can be read in a folder that is read-only
                    with suppress(sqlite3.OperationalError):  # a viewer that reads it then keeps the log
                        database.execute(f"PRAGMA journal_mode = {'DELETE' if is_complete else 'WAL'}")
                if is_complete and not read_only:
                    with suppress(OSError):  # a kill at the end leaves an empty one; SQLite has rolled back any other
                        Path(f"{path}-journal").unlink(missing_ok=True)
        except sqlite3.OperationalError as error:
            raise AnnotationError(f"Cannot read {path}: {error}.") from error
        except (sqlite3.Error, KeyError, ValueError, TypeError) as error:
            raise AnnotationError(f"Cannot read {path}: it is damaged ({error}).") from error
        return store

    @staticmethod
    def check(path: Path, database: sqlite3.Connection) -> None:
        """Close a connection and raise an `AnnotationError` if its file is not a store of this version."""
        try:
            application_id, version = (
                database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise AnnotationError(f"Cannot read {path}: it is damaged ({error}).") from error
        if (application_id, version) != VERSION_AND_KIND:
            database.close()
            raise AnnotationError(f"{path} is not a file of cells of this version of napari-cellseg.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was not committed is lost."""
        with suppress(sqlite3.Error):
            self._database.close()
        if self._lock is not None:
            self._lock.release()

    @property
    def facts(self) -> dict[str, Any]:
        """What was given to `create`, with ``image_size`` and ``complete``."""
        with _reading(self.path):
            return self._facts()

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the slide, px."""
        with _reading(self.path):
            height, width = (int(side) for side in self._facts()["image_size"])
            if not 0 < min(height, width) <= max(height, width) < _LONGEST_SIDE:
                raise ValueError(f"an image of {width} x {height} px")
            return height, width

    @property
    def is_complete(self) -> bool:
        """Whether all tiles are finished."""
        with _reading(self.path):
            return bool(self._facts()["complete"])

    def _facts(self) -> dict[str, Any]:
        return {name: json.loads(value) for name, value in self._database.execute("SELECT name, value FROM facts")}

    def add(
        self,
        tiles: Mapping[int, TileState],
        finished: TileCells,
        pieces: TileCells,
        settled: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Add finished tiles with their cells in one transaction.

        Parameters
        ----------
        tiles : mapping of int to TileState
            The tiles by their number in the plan.
        finished : TileCells
            Cells that are final.
        pieces : TileCells
            Cells that wait for a tile.
        settled : iterable of (tile, place)
            Earlier pieces that no longer wait.

        Raises
        ------
        ExportError
            The file cannot be written, for example because the disk is full.
        """
        with _errors(self.path), self._database as database:
            database.executemany("INSERT INTO tile VALUES (?, ?)", tiles.items())
            database.executemany(f"INSERT INTO piece ({_COLUMNS}) VALUES ({'?,' * 11}?)", _rows(pieces))
            database.executemany("DELETE FROM piece WHERE tile = ? AND place = ?", settled)
            first = database.execute("SELECT coalesce(max(id), 0) + 1 FROM cell").fetchone()[0]
            joined = finished.joined.tolist()
            database.executemany(
                f"INSERT INTO cell (id, joined, {_COLUMNS}) VALUES ({'?,' * 13}?)",
                ((first + i, joined[i], *row) for i, row in enumerate(_rows(finished))),
            )
            database.executemany(
                "INSERT INTO cell_box VALUES (?, ?, ?, ?, ?)",
                ((first + i, x0, x1, y0, y1) for i, (x0, y0, x1, y1) in enumerate(finished.cells.boxes.tolist())),
            )

    def note(self, **facts: Any) -> None:
        """Add facts, JSON values. Errors as `add`."""
        with _errors(self.path), self._database as database:
            rows = [(name, json.dumps(value)) for name, value in facts.items()]
            database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def finish(self, **facts: Any) -> None:
        """Mark the store as complete, with more facts; it is then one file without a log next to it."""
        with _errors(self.path):
            with self._database as database:
                rows = [(name, json.dumps(value)) for name, value in {**facts, "complete": True}.items()]
                database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)
                # Sorted once: an index that grows with each tile is written again and again.
                database.execute("CREATE INDEX best_first ON cell (score DESC, joined, tile, place)")
            with suppress(sqlite3.OperationalError):  # a viewer that reads it removes the log when it closes the file
                self._database.execute("PRAGMA journal_mode = DELETE")

    def tiles(self) -> dict[int, TileState]:
        """Return the finished tiles by their number."""
        with _reading(self.path):
            return dict(self._database.execute("SELECT number, state FROM tile ORDER BY number"))

    def pieces(self) -> TileCells:
        """Return the cells that wait for a tile, by tile and place."""
        with _reading(self.path):
            rows = self._database.execute(f"SELECT 0, {_COLUMNS} FROM piece ORDER BY tile, place").fetchall()
            return self._cells(rows, 1)

    def __len__(self) -> int:
        with _reading(self.path):
            return int(self._database.execute("SELECT count(*) FROM cell").fetchone()[0])

    def counts(self, limits: Mapping[int, float] = MappingProxyType({})) -> dict[int, int]:
        """Return the number of finished cells by class_id, of those at or above the minimum score of their class."""
        count = "SELECT count(*) FROM cell WHERE class_id = ? AND score >= ?"
        with _reading(self.path):
            class_ids = [row[0] for row in self._database.execute("SELECT DISTINCT class_id FROM cell")]
            return {i: self._database.execute(count, (i, limits.get(i, 0.0))).fetchone()[0] for i in class_ids}

    def best_first(self, batch: int = _BATCH) -> Iterator[TileCells]:
        """Yield all finished cells in batches, highest score first; ``label_values`` are 1..N over all of them."""
        with closing(self._database.cursor()) as rows:
            with _reading(self.path):
                rows.execute(f"SELECT joined, {_COLUMNS} FROM cell {_BEST_FIRST}")
            first = 1
            while True:
                with _reading(self.path):
                    some = rows.fetchmany(batch)
                    found = self._cells(some, first)
                if not some:
                    return
                yield found
                first += len(some)

    def in_box(self, box: tuple[int, int, int, int]) -> TileCells:
        """Return the finished cells whose bounding box touches (x0, y0, x1, y1), half-open px; highest score first."""
        x0, y0, x1, y1 = box
        with _reading(self.path):
            rows = self._database.execute(
                f"SELECT joined, {_COLUMNS} FROM cell WHERE id IN "
                f"(SELECT id FROM cell_box WHERE x1 > ? AND x0 < ? AND y1 > ? AND y0 < ?) {_BEST_FIRST}",
                (x0, x1, y0, y1),
            )
            return self._cells(rows.fetchall(), 1)

    def _cells(self, rows: Sequence[Sequence[Any]], first: int) -> TileCells:
        if not rows:
            return TileCells.empty(self.image_size)
        joined, tiles, places, class_ids, scores, x0, y0, x1, y1, masks, *colours = zip(*rows, strict=True)
        boxes = np.stack([x0, y0, x1, y1], 1).astype(np.int32)
        height, width = image_size = self.image_size
        if (boxes[:, 2:] <= boxes[:, :2]).any() or (boxes[:, :2] < 0).any() or (boxes[:, 2:] > (width, height)).any():
            raise ValueError("a cell lies outside the image")
        crops = tuple(mask_of(mask, box) for mask, box in zip(masks, boxes.tolist(), strict=True))
        cells = InstanceMasks(
            image_size=image_size,
            boxes=boxes,
            class_ids=np.array(class_ids, np.int32),
            scores=np.array(scores, np.float32),
            masks=crops,
        )
        return TileCells(
            cells=replace(cells, label_values=np.arange(first, first + len(rows))),
            tiles=np.array(tiles, np.int64),
            places=np.array(places, np.int64),
            joined=np.array(joined, bool),
            colours=np.stack(colours, 1).astype(np.int64),
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into an error in words."""
    try:
        yield
    except (sqlite3.Error, KeyError, ValueError, TypeError, OverflowError) as error:
        raise damaged_words(path, error) from error


def damaged_words(path: Path, error: Exception) -> AnnotationError:
    """Return what to say about a damaged file."""
    return AnnotationError(
        f"Cannot read {path}: it is damaged ({error}). Move it away; the slide is then predicted from the start."
    )


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ExportError(
            f"Cannot write {path}: {error}. Check the disk, then start the command again: it resumes."
        ) from error


def _rows(found: TileCells) -> Iterator[tuple[Any, ...]]:
    cells = found.cells
    lists = (found.tiles, found.places, cells.class_ids, cells.scores.astype(np.float64))
    for about, box, mask, colour in zip(
        zip(*(array.tolist() for array in lists), strict=True),
        cells.boxes.tolist(),
        cells.masks,
        found.colours.tolist(),
        strict=True,
    ):
        yield (*about, *box, np.packbits(mask).tobytes(), *colour)


def mask_of(mask: bytes, box: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return the mask (y1 - y0, x1 - x0) of a cell from its bits; a `ValueError` if they do not fit its box."""
    height, width = box[3] - box[1], box[2] - box[0]
    if len(mask) != -(-height * width // 8):
        raise ValueError("a mask does not fit its cell")
    flat = np.unpackbits(np.frombuffer(mask, np.uint8), count=height * width)
    return flat.view(np.bool_).reshape(height, width)

"""`CellReader`: the cells of a `CellStore` in a box, at a place, or counted in a grid, for a view of a slide."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.formats.cell_store import CellStore, damaged_words, mask_of
from napari_cellseg.instances import InstanceMasks

__all__ = ["BoxCells", "CellCounts", "CellReader", "CellRow", "StoredCell"]

Box = tuple[int, int, int, int]
Never = Callable[[], bool]

_COLUMNS = "c.id, c.class_id, c.score, c.x0, c.y0, c.x1, c.y1, c.mask"
_IN_BOX = (
    f"SELECT {_COLUMNS} FROM cell_box b CROSS JOIN cell c ON c.id = b.id "
    "WHERE b.x1 > ? AND b.x0 < ? AND b.y1 > ? AND b.y0 < ?"
)
_SCORES_IN_BOX = _IN_BOX.replace(_COLUMNS, "c.id, c.class_id, c.score")
_ROWS = (
    "SELECT c.id, c.class_id, c.score, c.x0, c.y0, c.x1, c.y1 FROM json_each(?) wanted "
    "CROSS JOIN cell c ON c.id = wanted.value"
)
_COUNT_IN_BOX = "SELECT count(*) FROM (SELECT 1 FROM cell_box WHERE x1 > ? AND x0 < ? AND y1 > ? AND y0 < ? LIMIT ?)"
_COUNTED_AT_A_TIME = 50_000


class CellRow(NamedTuple):
    """One cell of a store without its mask."""

    id: int
    class_id: int
    score: float
    box: Box


@dataclass(frozen=True)
class StoredCell:
    """One cell of a store; ``mask`` is (y1 - y0, x1 - x0) bool."""

    id: int
    class_id: int
    score: float
    box: Box
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BoxCells:
    """N cells of a store.

    Attributes
    ----------
    ids : (N,) int64
    class_ids : (N,) int32
    scores : (N,) float64
    boxes : (N, 4) int32
        x0, y0, x1, y1, half-open px.
    masks : tuple of bytes
        The bits of each mask, row by row.
    """

    ids: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.int32]
    masks: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.masks)

    def select(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> BoxCells:
        """Return the cells of an integer index (M,) or a bool index (N,), in that order."""
        chosen = np.arange(len(self))[index]
        masks = tuple(self.masks[i] for i in chosen.tolist())
        return BoxCells(self.ids[chosen], self.class_ids[chosen], self.scores[chosen], self.boxes[chosen], masks)

    def instances(self, image_size: tuple[int, int]) -> InstanceMasks:
        """Return the cells with their masks."""
        pairs = zip(self.masks, self.boxes.tolist(), strict=True)
        return InstanceMasks(
            image_size=image_size,
            boxes=self.boxes,
            class_ids=self.class_ids,
            scores=self.scores.astype(np.float32),
            masks=tuple(mask_of(mask, box) for mask, box in pairs),
        )

    def cell(self, i: int) -> StoredCell:
        """Return the cell at a place of the sequence."""
        x0, y0, x1, y1 = (int(value) for value in self.boxes[i])
        box = x0, y0, x1, y1
        return StoredCell(
            int(self.ids[i]), int(self.class_ids[i]), float(self.scores[i]), box, mask_of(self.masks[i], box)
        )


class CellCounts:
    """How many cells of each class have their middle in each square of a grid; grows with the store.

    Attributes
    ----------
    side : int
        Of a square, px of the store.
    counts : (K, h, w) int32
        Class 1 first.
    last_id : int
        The cells up to this id are counted.
    """

    def __init__(self, image_size: tuple[int, int], side: int, classes: int) -> None:
        height, width = image_size
        self.side = side
        self.counts: npt.NDArray[np.int32] = np.zeros((classes, -(-height // side), -(-width // side)), np.int32)
        self.last_id = 0

    @property
    def totals(self) -> dict[int, int]:
        """The number of cells by class_id."""
        return {i: int(total) for i, total in enumerate(self.counts.sum((1, 2)), start=1)}


class CellReader:
    """A connection for reading, also while another process adds cells; for one thread at a time.

    Parameters
    ----------
    path : Path

    Raises
    ------
    AnnotationError
        The file is not a store of cells, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():  # SQLite would make one
            raise AnnotationError(f"Cannot read {path}: there is no such file.")
        mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
        try:
            self._database = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}", timeout=2.0, uri=True, check_same_thread=False
            )
            self._database.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise AnnotationError(f"Cannot read {path}: {error}.") from error
        try:
            CellStore.check(path, self._database)
            store = CellStore(path, self._database)
            self.facts = store.facts
            self.image_size = store.image_size
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last one removes the log that a finished run left for its readers."""
        with suppress(sqlite3.Error, AnnotationError):
            if self._database.execute("PRAGMA journal_mode").fetchone()[0] == "wal" and self.is_complete:
                self._database.execute("PRAGMA query_only = OFF")
                self._database.execute("PRAGMA journal_mode = DELETE")
        with suppress(sqlite3.Error):
            self._database.close()

    @property
    def is_complete(self) -> bool:
        """Whether all tiles are finished now."""
        return CellStore(self.path, self._database).is_complete

    @property
    def tiles_done(self) -> tuple[int, int] | None:
        """The numbers of predicted tiles and of all to predict, 0 if the file does not state it; None when finished.

        Raises
        ------
        AnnotationError
            The file is damaged.
        """
        facts = CellStore(self.path, self._database).facts
        if facts["complete"]:
            return None
        try:
            finished = int(self._database.execute("SELECT count(*) FROM tile").fetchone()[0])
            total = int(facts.get("to_predict", 0))
            return (total - int(facts["planned"]) + finished, total) if total else (finished, 0)
        except (sqlite3.Error, KeyError, ValueError, TypeError) as error:
            raise damaged_words(self.path, error) from error

    @property
    def classes(self) -> ClassTable | None:
        """The classes of the model that predicted the cells; None if the file does not state them."""
        try:
            return ClassTable.from_json(self.facts["classes"]) if "classes" in self.facts else None
        except ConfigError as error:
            raise damaged_words(self.path, error) from error

    def in_box(self, box: Box, most: int | None = None) -> BoxCells | None:
        """Return the finished cells whose bounding box touches a box, lowest score first; None if more than ``most``.

        Raises
        ------
        AnnotationError
            The file is damaged.
        """
        x0, y0, x1, y1 = box
        try:
            if most is not None:
                found = self._database.execute(_COUNT_IN_BOX, (x0, x1, y0, y1, most + 1)).fetchone()[0]
                if found > most:
                    return None
            rows = self._database.execute(_IN_BOX, (x0, x1, y0, y1)).fetchall()
            found = _cells_of(rows, self.image_size)
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            raise damaged_words(self.path, error) from error
        return found.select(np.argsort(found.scores, kind="stable"))

    def best_first(self, batch: int = 1024) -> Iterator[tuple[BoxCells, npt.NDArray[np.int64]]]:
        """Yield all finished cells in batches, highest score first, with the sums of their colours, (N, 3).

        Raises
        ------
        AnnotationError
            The file is damaged.
        """
        with closing(self._database.cursor()) as cursor:
            try:
                cursor.execute(
                    f"SELECT {_COLUMNS}, c.red, c.green, c.blue FROM cell c "
                    "ORDER BY c.score DESC, c.joined, c.tile, c.place"
                )
                while rows := cursor.fetchmany(batch):
                    cells = _cells_of([row[:-3] for row in rows], self.image_size)
                    yield cells, np.array([row[-3:] for row in rows], np.int64)
            except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
                raise damaged_words(self.path, error) from error

    def scores_in_box(self, box: Box, most: int) -> list[tuple[int, int, float]] | None:
        """Return id, class_id and score of the cells in a box, lowest score first; None if they are more than ``most``.

        Raises
        ------
        AnnotationError
            The file is damaged.
        """
        x0, y0, x1, y1 = box
        try:
            rows = self._database.execute(f"{_SCORES_IN_BOX} LIMIT ?", (x0, x1, y0, y1, most + 1)).fetchall()
        except sqlite3.Error as error:
            raise damaged_words(self.path, error) from error
        return None if len(rows) > most else sorted(rows, key=lambda row: (row[2], row[0]))

    def at(self, x: int, y: int) -> list[StoredCell]:
        """Return the cells that cover a pixel, lowest score first."""
        found = self.in_box((x, y, x + 1, y + 1))
        cells = [] if found is None else [found.cell(i) for i in range(len(found))]
        return [cell for cell in cells if cell.mask[y - cell.box[1], x - cell.box[0]]]

    def cell(self, cell_id: int) -> StoredCell | None:
        """Return a cell by its id; None if there is none.

        Raises
        ------
        AnnotationError
            The file is damaged.
        """
        try:
            rows = self._database.execute(f"SELECT {_COLUMNS} FROM cell c WHERE c.id = ?", (cell_id,)).fetchall()
            return _cells_of(rows, self.image_size).cell(0) if rows else None
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            raise damaged_words(self.path, error) from error

    def rows(self, cell_ids: Iterable[int]) -> list[CellRow]:
        """Return cells by their ids, without masks: 30 times faster than `cell` for each.

        Raises
        ------
        AnnotationError
            The file is damaged, or has no such cell.
        """
        wanted = list(cell_ids)
        try:
            found = self._database.execute(_ROWS, (json.dumps(wanted),)).fetchall()
        except sqlite3.Error as error:
            raise damaged_words(self.path, error) from error
        if len(found) < len(wanted):
            raise damaged_words(self.path, ValueError("a cell is gone"))
        return [CellRow(row[0], row[1], row[2], row[3:]) for row in found]

    def count_on(self, counts: CellCounts, limits: Mapping[int, float], is_stale: Never = lambda: False) -> bool:
        """Add cells that are not counted yet, of those at or above the minimum score of their class.

        Returns whether all are counted; False if the counts became stale before.

        Raises
        ------
        AnnotationError
            The file is damaged.
        """
        try:
            last = int(self._database.execute("SELECT coalesce(max(id), 0) FROM cell").fetchone()[0])
            known = counts.counts.shape[0]
            choices = [f"WHEN {i} THEN {float(limits.get(i, 0))!r}" for i in range(1, known + 1)]
            least = f"CASE class_id {' '.join(choices)} ELSE 0 END"
            while counts.last_id < last:
                if is_stale():
                    return False
                end = min(counts.last_id + _COUNTED_AT_A_TIME, last)
                rows = self._database.execute(
                    "SELECT class_id, (y0 + y1) / ?1, (x0 + x1) / ?1, count(*) FROM cell "
                    f"WHERE id > ?2 AND id <= ?3 AND score >= {least} GROUP BY 1, 2, 3",
                    (2 * counts.side, counts.last_id, end),
                ).fetchall()
                if rows:
                    class_ids, y, x, number = np.array(rows, np.int64).T
                    np.add.at(counts.counts, (class_ids - 1, y, x), number.astype(np.int32))
                counts.last_id = end
        except (sqlite3.Error, ValueError, TypeError, IndexError, OverflowError) as error:
            raise damaged_words(self.path, error) from error
        return True

    def highest_class(self) -> int:
        """Return the highest class_id of the first cells: enough for a file without class names."""
        try:
            return int(
                self._database.execute(
                    "SELECT coalesce(max(class_id), 1) FROM (SELECT class_id FROM cell LIMIT 100000)"
                ).fetchone()[0]
            )
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise damaged_words(self.path, error) from error


def _cells_of(rows: Sequence[Sequence[Any]], image_size: tuple[int, int]) -> BoxCells:
    if not rows:
        none = np.zeros(0, np.int64)
        return BoxCells(none, none.astype(np.int32), none.astype(float), np.zeros((0, 4), np.int32), ())
    ids, class_ids, scores, x0, y0, x1, y1, masks = zip(*rows, strict=True)
    boxes = np.stack([x0, y0, x1, y1], 1).astype(np.int32)
    height, width = image_size
    sides = boxes[:, 2:] - boxes[:, :2]
    if (sides <= 0).any() or (boxes[:, :2] < 0).any() or (boxes[:, 2:] > (width, height)).any():
        raise ValueError("a cell lies outside the image")
    if (-(-sides.prod(1, dtype=np.int64) // 8) != np.fromiter(map(len, masks), np.int64, len(masks))).any():
        raise ValueError("a mask does not fit its cell")
    return BoxCells(np.array(ids, np.int64), np.array(class_ids, np.int32), np.array(scores, float), boxes, masks)

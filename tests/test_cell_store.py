"""The store of a slide's cells: what is committed is there after a kill, best first and by region."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.cell_file import is_blank, set_database_aside
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.instances import InstanceMasks

SIZE = (300, 400)


def cells(number: int, count: int, tile: int = 0) -> TileCells:
    rng = np.random.default_rng(number)
    masks = [rng.random(tuple(rng.integers(1, 12, 2))) > 0.4 for _ in range(count)]
    offsets = rng.integers(0, 280, (count, 2))
    found = InstanceMasks.from_crops(SIZE, offsets, masks, rng.integers(1, 4, count), rng.random(count))
    return TileCells.of_tile(tile, found, rng.integers(0, 9999, (len(found), 3)))


def equal(first: TileCells, second: TileCells) -> bool:
    arrays = ("tiles", "places", "joined", "colours")
    return first.cells.equals(second.cells) and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays
    )


def best_first(found: TileCells) -> TileCells:
    order = np.lexsort((found.places, found.tiles, found.joined, -found.cells.scores.astype(float)))
    found = found.select(order)
    numbered = InstanceMasks(**{**vars(found.cells), "label_values": np.arange(1, len(found) + 1)})
    return TileCells(**{**vars(found), "cells": numbered})


def test_cells_come_back_exactly_best_first_in_batches_and_by_region(tmp_path: Path) -> None:
    first, second = cells(0, 40), cells(1, 30, tile=1)
    with CellStore.create(tmp_path / "new" / "a.sqlite", SIZE, {"model": "m"}) as store:
        none = TileCells.empty(SIZE)
        store.add({0: "done"}, first, none)
        store.add({1: "done", 2: "glass"}, second, none)
        assert not store.is_complete
        store.finish(seconds=3)
        everything = best_first(TileCells.concatenate([first, second]))
        assert equal(TileCells.concatenate(list(store.best_first(batch=7))), everything)
        assert len(store) == len(everything)
        assert sum(store.counts().values()) == len(everything)
        boxes = everything.cells.boxes
        near = (boxes[:, 0] < 90) & (boxes[:, 2] > 30) & (boxes[:, 1] < 200) & (boxes[:, 3] > 60)
        found = store.in_box((30, 60, 90, 200))
        assert 0 < near.sum() < len(everything)
        assert np.array_equal(found.cells.boxes, boxes[near])
    with CellStore.open(tmp_path / "new" / "a.sqlite") as store:
        assert store.is_complete
        assert store.facts == {"model": "m", "image_size": list(SIZE), "complete": True, "seconds": 3}
        assert store.tiles() == {0: "done", 1: "done", 2: "glass"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.sqlite"]


def test_pieces_wait_until_they_are_settled(tmp_path: Path) -> None:
    found = cells(2, 10, tile=4)
    with CellStore.create(tmp_path / "a.sqlite", SIZE, {}) as store:
        none = TileCells.empty(SIZE)
        store.add({4: "done"}, none, found)
        assert equal(store.pieces(), TileCells(**vars(found)))
        store.add({5: "done"}, none, none, settled=[(4, 0), (4, 3)])
        assert store.pieces().places.tolist() == [i for i in range(len(found)) if i not in (0, 3)]


def test_a_kill_keeps_what_was_committed(tmp_path: Path) -> None:
    found = cells(3, 20)
    store = CellStore.create(tmp_path / "a.sqlite", SIZE, {})
    with store:
        store.add({0: "done"}, found, TileCells.empty(SIZE))
        for path in list(tmp_path.iterdir()):  # the files as a kill leaves them, with the log
            shutil.copy(path, tmp_path / path.name.replace("a.sqlite", "killed.sqlite"))
        assert (tmp_path / "killed.sqlite-wal").exists()
        with CellStore.open(tmp_path / "killed.sqlite") as killed:
            assert killed.tiles() == {0: "done"}
            assert len(killed) == len(found)


def test_a_store_is_open_in_one_process_only(tmp_path: Path) -> None:
    with CellStore.create(tmp_path / "a.sqlite", SIZE, {}) as store:
        store.add({0: "done"}, cells(0, 3), TileCells.empty(SIZE))
        with pytest.raises(ExportError, match="another process"):
            CellStore.open(tmp_path / "a.sqlite")


def test_other_and_damaged_files_are_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(AnnotationError, match=r"a\.sqlite"):
        CellStore.open(path)
    with CellStore.create(path, SIZE, {}):
        assert (tmp_path / "a.sqlite.bak").read_bytes().startswith(b"not a database")
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE x (y)")
    other.close()
    with pytest.raises(AnnotationError, match="not a file of cells"):
        CellStore.open(tmp_path / "other.sqlite")


def test_a_complete_store_is_one_file_however_it_was_opened_or_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with CellStore.create(path, SIZE, {}) as store:
        store.add({0: "done"}, cells(0, 9), TileCells.empty(SIZE))
        store.finish()
    killed = sqlite3.connect(path)  # as a kill leaves it before the log is removed
    killed.execute("PRAGMA journal_mode = WAL")
    killed.close()
    assert path.read_bytes()[18] == 2, "SQLite marks a file with a log by a 2"
    with CellStore.open(path) as store:
        assert store.is_complete
    assert path.read_bytes()[18] == 1
    with CellStore.open(path, read_only=True) as first, CellStore.open(path, read_only=True) as second:
        assert len(first) == len(second) > 0
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]


def test_a_file_that_cannot_be_opened_is_not_kept_locked(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    CellStore.create(path, SIZE, {}).close()
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM facts WHERE name = 'complete'")
    database.close()
    with pytest.raises(AnnotationError, match="damaged") as caught:
        CellStore.open(path)
    with sqlite3.connect(path, timeout=0) as database:
        database.execute("BEGIN EXCLUSIVE")
    database.close()
    assert caught.value.__traceback__ is not None, "the frame of `open` is alive, and its connection is closed"


@pytest.mark.parametrize("has_header", [False, True])
def test_what_a_kill_left_of_a_file_that_was_begun_is_replaced(tmp_path: Path, has_header: bool) -> None:
    path = tmp_path / "a.sqlite"
    path.touch()
    if has_header:
        database = sqlite3.connect(path)
        database.execute("PRAGMA journal_mode = WAL")
        database.close()
        assert path.stat().st_size
    assert is_blank(path)
    with CellStore.create(path, SIZE, {}) as store:
        assert store.image_size == SIZE
    assert not is_blank(path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.sqlite"]


@pytest.mark.parametrize("content", [b"of the user", b"\0" * 4096])
def test_another_file_is_not_taken_for_a_blank_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(content)
    assert not is_blank(path)
    assert path.read_bytes() == content


def test_the_journal_of_a_run_that_was_killed_at_its_end_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with CellStore.create(path, SIZE, {}) as store:
        store.finish()
    path.with_name("a.sqlite-journal").write_bytes(bytes(512))  # SQLite empties its header when all is committed
    with CellStore.open(path, read_only=True) as store:
        assert store.is_complete
    with CellStore.open(path) as store:
        assert store.is_complete
    assert [each.name for each in tmp_path.iterdir()] == ["a.sqlite"]


def killed_store(path: Path, found: TileCells) -> Path:
    """Write the files that a kill leaves: all cells are in the log."""
    path.parent.mkdir()
    with CellStore.create(path.parent.parent / "running.sqlite", SIZE, {}) as store:
        store.add({0: "done"}, found, TileCells.empty(SIZE))
        for suffix in ("", "-wal"):
            shutil.copy(f"{store.path}{suffix}", f"{path}{suffix}")
    return path


def test_a_store_that_a_killed_run_left_is_kept_with_the_cells_of_its_log(tmp_path: Path) -> None:
    found = cells(3, 20)
    path = killed_store(tmp_path / "run" / "a.sqlite", found)
    with CellReader(path) as viewer, CellStore.create(path, SIZE, {}) as new:  # the viewer keeps the log from closing
        assert len(new) == 0
        assert viewer.cell(1) is not None
        assert [file.name for file in path.parent.glob("*.bak*")] == ["a.sqlite.bak"]
        with CellStore.open(path.with_name("a.sqlite.bak")) as kept:
            assert kept.tiles() == {0: "done"}
            assert equal(TileCells.concatenate(list(kept.best_first())), best_first(found))


def test_a_log_that_cannot_be_written_into_its_file_is_kept_with_it(tmp_path: Path) -> None:
    found = cells(3, 20)
    path = killed_store(tmp_path / "run" / "a.sqlite", found)
    reading = sqlite3.connect(path)
    with sqlite3.connect(path) as database:  # changed after the reader began: the log must not be emptied
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM cell").fetchone()
        database.execute("INSERT INTO facts VALUES ('more', '1')")
    database.close()
    kept = set_database_aside(path)
    reading.close()
    assert kept is not None
    assert Path(f"{kept}-wal").stat().st_size
    with CellStore.open(kept) as store:
        assert store.facts["more"] == 1
        assert len(store) == len(found)

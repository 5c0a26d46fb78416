"""Decisions about the cells of a store: on disk, undone and redone, kept apart from the prediction."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from slide_cells import grid_cells, write_store

from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.cell_decisions import CellDecisions, Decided, Decision, apply_decisions
from napari_cellseg.formats.cell_reader import CellCounts, CellReader
from napari_cellseg.formats.decisions_file import decisions_file

SIZE = (300, 400)


@pytest.fixture
def reader(tmp_path: Path):
    with CellReader(write_store(tmp_path / "a.sqlite", grid_cells(SIZE))) as reader:
        yield reader


def opened(reader: CellReader, at: float = 5.0) -> CellDecisions:
    return CellDecisions.open(reader, "ana", clock=lambda: at)


def cells_of(reader: CellReader, *ids: int):
    return [reader.cell(i) for i in ids]


def test_decisions_are_there_after_the_next_start_with_user_and_time(reader: CellReader) -> None:
    before = reader.path.read_bytes()
    with opened(reader) as decisions:
        decisions.accept(cells_of(reader, 1, 2))
        decisions.reject(cells_of(reader, 3))
        decisions.give_class(cells_of(reader, 4), 1)
        decisions.give_class(cells_of(reader, 5), 1)
    expected = {
        1: Decision(Decided.ACCEPTED, 1), 2: Decision(Decided.ACCEPTED, 2), 3: Decision(Decided.REJECTED, 1),
        4: Decision(Decided.EDITED, 1), 5: Decision(Decided.ACCEPTED, 1),
    }  # fmt: skip
    with opened(reader) as decisions:
        assert dict(decisions.of) == expected
        assert decisions.counts() == {Decided.ACCEPTED: 3, Decided.REJECTED: 1, Decided.EDITED: 1}
    with sqlite3.connect(decisions_file(reader.path)) as database:
        assert database.execute("SELECT DISTINCT user, at FROM cell").fetchall() == [("ana", 5.0)]
    database.close()
    assert reader.path.read_bytes() == before, "the prediction stays as it is"
    assert sorted(path.name for path in reader.path.parent.iterdir()) == ["a.decisions", "a.sqlite"]


def test_undo_and_redo_go_back_and_forth_also_after_the_next_start(reader: CellReader) -> None:
    with opened(reader) as decisions:
        decisions.accept(cells_of(reader, 1, 2, 3))
        decisions.reject(cells_of(reader, 2))
        states = [dict(decisions.of)]
    with opened(reader) as decisions:
        assert decisions.undo_text == "reject cell 2"
        assert decisions.undo() == (2,)
        assert decisions.of[2] == Decision(Decided.ACCEPTED, 2)
        assert decisions.undo_text == "accept 3 cells"
        assert decisions.undo() == (1, 2, 3)
        assert not decisions.of
        assert decisions.undo() == ()
        assert decisions.undo_text == ""
        assert decisions.redo_text == "accept 3 cells"
    with opened(reader) as decisions:
        assert decisions.redo() == (1, 2, 3)
        assert decisions.redo() == (2,)
        assert decisions.redo() == ()
        assert dict(decisions.of) == states[0]
        decisions.undo()
        decisions.give_class(cells_of(reader, 1), 2)
        assert decisions.redo() == (), "a new decision ends what was undone"
        decisions.give_class(cells_of(reader, 1), 2)
        assert decisions.undo_text == "set the class of cell 1"
        decisions.undo()
        assert decisions.of[1] == Decision(Decided.ACCEPTED, 1), "the same decision again is no step"


def count_readers(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files that are opened from now on."""
    opened: list[Path] = []
    whole = CellReader.__init__

    def init(self: CellReader, path: Path) -> None:
        opened.append(path)
        whole(self, path)

    monkeypatch.setattr(CellReader, "__init__", init)
    return opened


def test_many_cells_are_redone_with_the_file_opened_once(reader: CellReader, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(reader) as decisions:
        rows = reader.rows(range(1, 41))
        assert [(row.id, row.class_id, row.score, row.box) for row in rows] == [
            (cell.id, cell.class_id, cell.score, cell.box) for cell in cells_of(reader, *range(1, 41))
        ]
        decisions.accept(rows)
        decisions.undo()
        files = count_readers(monkeypatch)
        assert decisions.redo() == tuple(range(1, 41))
        assert len(files) == 1, "not one per cell"
        assert decisions.counts()[Decided.ACCEPTED] == 40
    with pytest.raises(AnnotationError, match="a cell is gone"):
        reader.rows([1, 100_000])


def test_a_kill_loses_no_decision(reader: CellReader) -> None:
    decisions = opened(reader)
    decisions.reject(cells_of(reader, 7))
    copied = reader.path.parent / "killed"
    copied.mkdir()
    for path in reader.path.parent.glob("a.*"):  # with the log, as a kill leaves them
        shutil.copy(path, copied)
    decisions.close()
    with CellReader(copied / "a.sqlite") as other, opened(other) as killed:
        assert dict(killed.of) == {7: Decision(Decided.REJECTED, 1)}


def test_decisions_about_another_prediction_are_set_aside(reader: CellReader, tmp_path: Path) -> None:
    with opened(reader) as decisions:
        decisions.reject(cells_of(reader, 7))
    reader.close()
    write_store(tmp_path / "a.sqlite", grid_cells(SIZE, side=18))
    with CellReader(tmp_path / "a.sqlite") as other, opened(other) as decisions:
        assert not decisions.of
        assert decisions.set_aside == tmp_path / "a.sqlite.bak.decisions"
    with CellReader(tmp_path / "a.sqlite.bak") as kept, opened(kept) as decisions:
        assert dict(decisions.of) == {7: Decision(Decided.REJECTED, 1)}
        assert decisions.undo() == (7,)
        (tmp_path / "a.sqlite").unlink()
        assert decisions.redo() == (7,), "its cells are those of the backup"


def test_decisions_about_a_prediction_that_is_gone_are_kept_under_their_own_name(reader: CellReader) -> None:
    with opened(reader) as decisions:
        decisions.reject(cells_of(reader, 7))
    reader.close()
    reader.path.unlink()
    with CellReader(write_store(reader.path, grid_cells(SIZE, side=18))) as other, opened(other) as decisions:
        assert decisions.set_aside == reader.path.with_name("a.decisions.bak")


def test_a_second_viewer_and_a_damaged_file_are_refused(reader: CellReader) -> None:
    with opened(reader), pytest.raises(ExportError, match="open in a viewer"):
        opened(reader)
    decisions_file(reader.path).write_bytes(b"no database" * 1000)
    with pytest.raises(AnnotationError, match="damaged"):
        opened(reader)


def test_shown_and_counted_cells_follow_the_decisions_and_the_minimum_scores(reader: CellReader) -> None:
    limits = {1: 0.7, 2: 0.0}
    every = reader.in_box((0, 0, 400, 300))
    assert every is not None
    low = [int(i) for i in every.ids[(every.class_ids == 1) & (every.scores < 0.7)]]
    with opened(reader) as decisions:
        decisions.accept(cells_of(reader, low[0]))
        decisions.reject(cells_of(reader, 2, low[1]))
        decisions.give_class(cells_of(reader, 4), 1)
        shown = apply_decisions(every, decisions.of, limits)
        ids = shown.ids.tolist()
        assert low[0] in ids
        assert not {2, low[1], *low[2:]} & set(ids)
        assert shown.class_ids[ids.index(4)] == 1
        counts = CellCounts(SIZE, 100, 2)
        assert reader.count_on(counts, limits)
        changed = counts.counts + decisions.grid_changes(100, limits, counts.counts.shape)
    assert changed.sum((1, 2)).tolist() == np.bincount(shown.class_ids)[1:].tolist()

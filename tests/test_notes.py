"""Notes and flags: never lost by commands, saves, kills or predictions, and in the exports that can hold them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import CLASSES, SIZE, act, disc, some_cells

from napari_cellseg.export import ExportPlan, Which, export_folder, items_of
from napari_cellseg.review import About, Author, Cell, CellFilter, ReviewSession, Status, cells_from
from napari_cellseg.review.about import MAX_NOTE, tidy_note
from napari_cellseg.review.queue import QueueContent, ReviewQueue
from napari_cellseg.workspace import Sessions
from napari_cellseg.workspace.annotations import read_annotations
from napari_cellseg.workspace.store import ProposalStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    return tmp_path


def drawn() -> ReviewSession:
    """Three discs of a class in a row, the first two touching; #1 and #3 have notes, #3 is unsure."""
    session = ReviewSession(SIZE, CLASSES, user="ana", clock=lambda: 1.0)
    for x in (10, 28, 80):
        session.add(1, (x, 10, x + 21, 31), disc(10))
    write(session, "dividing?", 1)
    write(session, "out of focus", 3)
    session.do(lambda author, cells: Author.flag(author, cells, unsure=True), [3])
    return session


def write(session: ReviewSession, text: str, *ids: int) -> None:
    session.do(lambda author, cells: Author.note(author, cells, text), ids)


def notes(session: ReviewSession) -> dict[int, tuple[str, bool]]:
    return {cell.cell_id: (cell.note, cell.unsure) for cell in session.cells.values()}


def test_a_note_changes_neither_the_decision_nor_its_author_and_is_undone() -> None:
    session = ReviewSession(SIZE, CLASSES, some_proposals(), user="ana", clock=lambda: 1.0)
    before = session.cells[1]
    write(session, "  two\nlines\t", 1)
    cell = session.cells[1]
    assert cell.note == "two lines"
    assert (cell.status, cell.by, cell.at, cell.mask is before.mask) == (before.status, before.by, before.at, True)
    assert session.undo_text == "note on #1"
    assert session.undo()
    assert session.cells[1].equals(before)
    assert session.redo()
    write(session, "", 1)
    assert session.undo_text == "remove the note of #1"
    assert len(tidy_note("x" * 9999)) == MAX_NOTE


def some_proposals() -> list[Cell]:
    return cells_from(some_cells(5, 1), Status.PROPOSED, "model", 0.0)


def test_merge_joins_the_notes_and_every_other_command_keeps_them() -> None:
    session = drawn()
    write(session, "dark", 2)
    session.merge([1, 2])
    assert notes(session)[1] == ("dividing?; dark", False)
    session.reclassify([1, 3], 2)
    session.accept([1, 3])
    session.do(Author.smooth, [1, 3])
    box = (75, 5, 110, 40)
    before = session.view(2, box)
    after = before.copy()
    after[:, :3] = 3
    session.paint(2, box, before, after)
    assert notes(session) == {1: ("dividing?; dark", False), 3: ("out of focus", True)}
    session.split_by_line(3, [(20, 70), (20, 120)])
    found = notes(session)
    assert found.pop(1) == ("dividing?; dark", False)
    assert len(found) > 1
    assert set(found.values()) == {("out of focus", True)}, "each piece has them"


def test_a_prediction_leaves_flagged_proposals() -> None:
    session = ReviewSession(SIZE, CLASSES, some_proposals(), user="ana")
    write(session, "check", 2)
    session.load_proposals(some_cells(5, 2))
    assert 2 in session.cells
    assert session.cells[2].status is Status.PROPOSED
    assert 1 not in session.cells


def test_the_note_of_the_image_is_undone_in_order_with_the_cells() -> None:
    session = drawn()
    session.describe(About(note="blurred  corner"))
    session.accept([2])
    session.describe(replace(session.about, unsure=True))
    assert session.about.line == "unsure: blurred corner"
    assert not session.describe(session.about), "nothing changes"
    assert session.undo().text == "flag the image as unsure"
    assert session.about == About(note="blurred corner")
    assert session.undo_text == session.undo().text == "note on the image", "#2 was drawn, so it is edited already"
    assert not session.about
    session.go_by(2)
    assert session.about == About(note="blurred corner", unsure=True)


@pytest.mark.parametrize("way", ["saved", "killed", "kept", "predicted"])
def test_notes_come_back(folder: Path, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    about = About(note="Färbung “zu hell”", unsure=True)
    with Sessions.of_folder(folder, user="ana") as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        session.restore(drawn().cells.values(), "draw")
        if way == "kept":
            workspace.save("a")
        session.describe(about)
        write(session, "later", 2)
        if way in ("saved", "predicted"):
            workspace.save("a")
        elif way == "kept":
            workspace.keep_elsewhere("a")
        wanted = {1: ("dividing?", False), 2: ("later", False), 3: ("out of focus", True)}
    if way == "kept":
        (folder / ".cellseg" / "journal" / "a.jsonl").unlink()
    with Sessions.of_folder(folder, user="ana") as workspace:
        if way == "predicted":
            assert ProposalStore(workspace.project).put("a", some_cells(9, 3), "model", {})
        again = workspace.open_session("a", SIZE, CLASSES, recover=True)
        found = notes(again)
        assert {i: found[i] for i in wanted} == wanted
        assert again.about == about


def test_a_file_without_notes_is_that_of_the_version_before_and_one_with_notes_is_not(folder: Path) -> None:
    with Sessions.of_folder(folder, user="ana") as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        session.add(1, (10, 10, 31, 31), disc(10))
        workspace.save("a")
        path = folder / ".cellseg" / "annotations" / "a.jsonl"
        header, *rows = path.read_text("utf-8").splitlines()
        assert json.loads(header)["version"] == 2
        assert "about" not in json.loads(header)
        assert [len(json.loads(row)) for row in rows] == [9]
        write(session, "x", 1)
        workspace.save("a")
    header, row = path.read_text("utf-8").splitlines()
    assert json.loads(header)["version"] == 3
    assert json.loads(row)[9:] == [{"note": "x"}]
    damaged = json.loads(row)
    damaged[9] = {"note": 5}
    path.write_text("\n".join((header, json.dumps(damaged), "")), "utf-8")
    assert "note = 5" in read_annotations(path).problem


def test_any_sequence_of_commands_keeps_the_texts_of_the_journal_exact(folder: Path) -> None:
    rng = np.random.default_rng(0)
    workspace = Sessions.of_folder(folder, user="ana")
    session = workspace.open_session("a", SIZE, CLASSES)
    session.load_proposals(some_cells(30, 0))
    for step in range(150):
        act(session, rng)
        ids = sorted(session.cells)
        if step % 3 == 0 and ids:
            write(session, f"note {step}", int(rng.choice(ids)))
        if step % 10 == 0:
            session.describe(About(note=f"image {step}", unsure=step % 20 == 0))
    workspace.close()
    with Sessions.of_folder(folder, user="ana") as workspace:
        again = workspace.open_session("a", SIZE, CLASSES, recover=True)
    assert again.cells.keys() == session.cells.keys()
    assert all(cell.equals(session.cells[i]) for i, cell in again.cells.items())
    assert again.about == session.about


def test_the_queue_and_filters_find_flagged_cells_decided_or_not() -> None:
    session = drawn()
    session.load_proposals(some_cells(5, 1))
    queue = ReviewQueue(session)
    queue.content = QueueContent.FLAGGED
    assert {item.cell_id for item in queue.items()} == {1, 3}
    texts = {item.cell_id: item.text for item in queue.items()}
    assert texts[3].startswith("unsure, \u201cout of focus\u201d")
    assert set(session.find(CellFilter(flagged=True))) == {1, 3}
    session.reject([3])
    assert {item.cell_id for item in queue.items()} == {1}
    write(session, "", 1)
    assert queue.next() is None


def test_exports_hold_the_notes_and_the_table_has_no_columns_without_any(folder: Path, tmp_path: Path) -> None:
    formats = frozenset({"coco", "geojson", "measurements"})
    with Sessions.of_folder(folder, user="ana") as workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        for x in (10, 60):
            session.add(1, (x, 10, x + 21, 31), disc(10))
        out = tmp_path / "plain"
        for _ in export_folder(items_of(workspace, Which.ALL), CLASSES, ExportPlan(folder=out, formats=formats)):
            pass
        assert "note" not in (out / "measurements.csv").read_text("utf-8-sig")
        assert "note" not in (out / "coco.json").read_text("utf-8")
        session.do(lambda author, cells: Author.flag(author, cells, unsure=True), [2])
        write(session, "=dividing?", 2)
        session.describe(About(note="blurred"))
        out = tmp_path / "noted"
        for _ in export_folder(items_of(workspace, Which.ALL), CLASSES, ExportPlan(folder=out, formats=formats)):
            pass
    first, second = csv.DictReader((out / "measurements.csv").read_text("utf-8-sig").splitlines())
    assert (first["unsure"], first["note"], first["image_note"]) == ("", "", "blurred")
    assert (second["unsure"], second["note"]) == ("yes", "'=dividing?")
    data = json.loads((out / "coco.json").read_text("utf-8"))
    assert data["images"][0]["note"] == "blurred"
    assert [(row.get("unsure"), row.get("note")) for row in data["annotations"]] == [
        (None, None),
        ("yes", "=dividing?"),
    ]
    features = json.loads((out / "geojson" / "a.geojson").read_text("utf-8"))["features"]
    assert features[1]["properties"]["metadata"]["note"] == "=dividing?"
    assert "note" not in features[0]["properties"]["metadata"]

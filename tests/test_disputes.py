"""Disputes of two readers: the same as in the agreement, up to date after every command, and settled by decisions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import CLASSES, SIZE, act, disc, some_cells

from napari_cellseg.report.agreement import Verdict, compare_readers
from napari_cellseg.review import Author, Cell, ReviewSession, Status, cells_from
from napari_cellseg.review.dispute_queue import DisputeQueue
from napari_cellseg.review.disputes import Disputes, OtherReader
from napari_cellseg.review.settlement import DisputeKind, Outcome
from napari_cellseg.review.settling import leaving_out, settling, taking
from napari_cellseg.workspace import Annotations, Sessions
from napari_cellseg.workspace.annotations import read_annotations

KINDS = {
    Verdict.CLASS: DisputeKind.CLASS,
    Verdict.MASK: DisputeKind.OUTLINE,
    Verdict.ONLY_FIRST: DisputeKind.ONLY_MINE,
    Verdict.ONLY_SECOND: DisputeKind.ONLY_OTHER,
}


def reader_of(cells: list[Cell]) -> OtherReader:
    return OtherReader(name="ana", names=frozenset({"ana"}), own_names=frozenset({"ben"}), cells=tuple(cells))


def annotations_of(cells: list[Cell]) -> Annotations:
    return Annotations(image_size=SIZE, classes=CLASSES, cells=tuple(cells))


def two_reviews(seed: int) -> tuple[ReviewSession, list[Cell]]:
    """Return a review, and the cells of another reader who moved, reclassified, rejected and left some of its cells."""
    rng = np.random.default_rng(seed)
    session = ReviewSession(SIZE, CLASSES, cells_from(some_cells(40, seed), Status.PROPOSED, "model", 0.0), user="ben")
    other = ReviewSession(SIZE, CLASSES, cells_from(some_cells(40, seed), Status.PROPOSED, "model", 0.0), user="ana")
    for one, start in ((session, 2), (other, 3)):
        ids = rng.permutation(list(one.cells)).tolist()
        one.accept(ids[start:30])
        one.reject(ids[30:36])
        one.reclassify(ids[4:8], 2)
        one.do(Author.smooth, ids[8:14])
        for _ in range(6):
            act(one, rng)
        x, y = rng.integers(0, 60, 2).tolist()
        one.add(1, (x, y, x + 13, y + 13), disc(6))
    return session, [cell for cell in other.cells.values() if other.is_visible(cell) or cell.status is Status.REJECTED]


def compared(session: ReviewSession, cells: list[Cell]) -> dict[int, DisputeKind]:
    """Return the disputes as the agreement has them, by the ids of the queue."""
    mine = Annotations(
        image_size=SIZE, classes=CLASSES, cells=tuple(session.cells.values()), min_scores=dict(session.min_scores)
    )
    image = compare_readers("a", mine, annotations_of(cells))
    found = {}
    for cell in image.cells:
        if cell.verdict.is_disagreement:
            only_other = cell.verdict is Verdict.ONLY_SECOND
            found[-cell.second.cell_id if only_other else cell.first.cell_id] = KINDS[cell.verdict]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_queue_has_the_disagreements_of_the_agreement_after_any_sequence_of_commands(seed: int) -> None:
    session, cells = two_reviews(seed)
    disputes = Disputes(session, reader_of(cells))
    queue = DisputeQueue(session, disputes)
    rng = np.random.default_rng(seed)
    some = 0
    for step in range(12):
        found = {item.cell_id: queue.dispute(item.cell_id) for item in queue.items()}
        undecided = {i: one.kind for i, one in found.items() if not one.is_changed}
        assert undecided == compared(session, cells)
        some += len(undecided)
        if step % 4 == 0:
            fresh = DisputeQueue(session, Disputes(session, reader_of(cells)))
            assert {item.cell_id for item in fresh.items()} == undecided.keys()
        act(session, rng)
    assert some > 60


def pair(mine: list[Cell], other: list[Cell]) -> tuple[ReviewSession, Disputes, DisputeQueue]:
    session = ReviewSession(SIZE, CLASSES, mine, user="ben", clock=lambda: 50.0)
    disputes = Disputes(session, reader_of(other))
    return session, disputes, DisputeQueue(session, disputes)


def cell(number: int, x: int, class_id: int = 1, radius: int = 8, status: Status = Status.ACCEPTED, **more) -> Cell:
    box = (x, 20, x + 2 * radius + 1, 21 + 2 * radius)
    by = more.pop("by", "ben")
    return Cell(
        cell_id=number, class_id=class_id, score=0.9, status=status, box=box, mask=disc(radius), by=by, at=9.0, **more
    )


def five() -> tuple[list[Cell], list[Cell]]:
    """Return cells of ben and ana: the same, other class, other outline, only ben's, only ana's, two rejected ones."""
    mine = [cell(1, 0), cell(2, 20), cell(3, 40), cell(4, 60), cell(6, 100), cell(7, 120, status=Status.REJECTED)]
    smaller = replace(cell(13, 40, radius=6, by="ana"), box=(42, 22, 55, 35))
    other = [
        cell(11, 0, by="ana"), cell(12, 20, 2, by="ana"), smaller, cell(15, 80, 3, by="ana"),
        cell(16, 100, status=Status.REJECTED, by="ana"), cell(17, 120, by="ana"),
    ]  # fmt: skip
    return mine, other


def test_each_dispute_says_on_what_the_readers_differ() -> None:
    _, _, queue = pair(*five())
    assert {item.cell_id: item.text for item in queue.items()} == {
        2: "ana: inflammatory",
        3: "outline differs (IoU 0.57)",
        4: "only you",
        6: "only you; ana rejected it",
        -15: "only ana",
        -17: "only ana; you rejected it",
    }
    assert queue.label(-15).class_id == 3
    assert {item.text for item in queue.items(class_id=3)} == {"only ana"}


def accepting(author: Author, cells: list[Cell]):
    return author.set_status(cells, Status.ACCEPTED)


def rejecting(author: Author, cells: list[Cell]):
    return author.set_status(cells, Status.REJECTED)


@pytest.mark.parametrize(
    ("do", "cell_id", "outcome", "text"),
    [
        (lambda s, d: s.do(settling(accepting, d), [2]), 2, Outcome.MINE, "keep #2, settled"),
        (lambda s, d: s.do(settling(partial(Author.give_class, class_id=2, class_name="inflammatory"), d), [2]), 2,
         Outcome.OTHER, "reclassify #2 to inflammatory, settled"),
        (lambda s, d: s.do(settling(partial(Author.give_class, class_id=3, class_name="epithelial"), d), [2]), 2,
         Outcome.CLASS, "reclassify #2 to epithelial, settled"),
        (lambda s, d: s.do(settling(rejecting, d), [2]), 2, Outcome.REJECTED, "reject #2, settled"),
        (lambda s, d: s.do(settling(rejecting, d), [4]), 4, Outcome.OTHER, "reject #4, settled"),
        (lambda s, d: s.do(taking(d, 4, s.next_id), ()), 4, Outcome.OTHER, "reject #4, settled"),
        (lambda s, d: s.do(taking(d, 3, s.next_id), ()), 3, Outcome.OTHER, "take the cell of ana as #3, settled"),
        (lambda s, d: s.do(taking(d, -15, s.next_id), ()), 8, Outcome.OTHER, "take the cell of ana as #8, settled"),
        (lambda s, d: s.do(taking(d, -15, s.next_id, 1), ()), 8, Outcome.CLASS, "take the cell of ana as #8, settled"),
        (lambda s, d: s.do(leaving_out(d, -15, s.next_id), ()), 8, Outcome.MINE, "leave out the cell of ana, settled"),
        (lambda s, d: s.do(taking(d, -17, s.next_id), ()), 7, Outcome.OTHER, "take the cell of ana as #7, settled"),
        (lambda s, d: s.do(leaving_out(d, -17, s.next_id), ()), 7, Outcome.MINE, "leave out the cell of ana, settled"),
    ],
)  # fmt: skip
def test_a_decision_settles_a_dispute_and_undo_opens_it_again(do, cell_id, outcome, text) -> None:
    session, disputes, queue = pair(*five())
    before = {item.cell_id for item in queue.items()}
    state = dict(session.cells)
    assert do(session, disputes).text == text
    settled = session.cells[cell_id].settled
    assert (settled.outcome, settled.by, settled.at, settled.reader) == (outcome, "ben", 50.0, "ana")
    assert disputes.settled == 1
    assert len(before - {item.cell_id for item in queue.items()}) == 1
    assert session.undo_text == text
    session.undo()
    assert {item.cell_id for item in queue.items()} == before
    assert session.cells == state
    assert disputes.settled == 0
    session.redo()
    assert session.cells[cell_id].settled is settled


def test_a_dispute_stays_until_a_corrected_outline_is_confirmed() -> None:
    session, disputes, queue = pair(*five())
    assert len(queue.items()) == 6
    box = (40, 20, 60, 40)
    before = session.view(1, box)
    after = np.where(np.pad(disc(6), ((2, 5), (2, 5))), before, 0)
    session.paint(1, box, before, after)  # now as ana has it
    item = next(item for item in queue.items() if item.cell_id == 3)
    assert item.text == "changed; ana had other"
    session.do(settling(accepting, disputes), [3])
    assert session.cells[3].settled.outcome is Outcome.OTHER
    session.undo()
    session.undo()
    smaller = before.copy()
    smaller[:5] = 0
    session.paint(1, box, before, smaller)
    session.do(settling(accepting, disputes), [3])
    assert session.cells[3].settled.outcome is Outcome.OUTLINE
    assert session.cells[3].settled.before.area > session.cells[3].area
    assert 3 not in {item.cell_id for item in queue.items()}


def test_a_cell_drawn_where_only_the_other_has_one_waits_for_a_decision() -> None:
    session, disputes, queue = pair(*five())
    assert len(queue.items()) == 6
    session.add(3, (80, 20, 97, 37), disc(8))
    assert queue.item(8).text == "changed; ana had epithelial"
    session.do(settling(accepting, disputes), [8])
    assert session.cells[8].settled.kind is DisputeKind.ONLY_OTHER
    assert queue.item(8) is None
    assert queue.item(-15) is None


def test_a_later_decision_of_the_other_reader_opens_the_dispute_again() -> None:
    mine, other = five()
    session, disputes, _ = pair(mine, other)
    session.do(settling(accepting, disputes), [2])
    session.do(leaving_out(disputes, -15, session.next_id), ())
    cells = list(session.cells.values())
    _, disputes, queue = pair(cells, other)
    assert {2, -15}.isdisjoint(item.cell_id for item in queue.items())
    assert disputes.settled == 2
    later = [replace(one, at=60.0) if one.cell_id in (12, 15) else one for one in other]
    _, disputes, queue = pair(cells, later)
    assert {2, -15} <= {item.cell_id for item in queue.items()}
    assert disputes.settled == 0
    _, disputes, _ = pair(cells, [*other, replace(cell(99, 140, by="ana"), at=60.0)])
    assert disputes.settled == 2, "another cell was decided later"


def test_what_the_other_reader_settled_is_settled() -> None:
    mine, other = five()
    ana = ReviewSession(SIZE, CLASSES, other, user="ana", clock=lambda: 60.0)
    against = OtherReader(name="ben", names=frozenset({"ben"}), own_names=frozenset({"ana"}), cells=tuple(mine))
    ana.do(settling(accepting, Disputes(ana, against)), [12])
    _, _, queue = pair(mine, list(ana.cells.values()))
    assert queue.item(2) is None
    assert queue.item(3) is not None


def test_a_reopened_cell_is_not_settled() -> None:
    session, disputes, _ = pair(*five())
    session.do(settling(rejecting, disputes), [2])
    session.set_status([2], Status.PROPOSED)
    assert session.cells[2].settled is None


@pytest.mark.parametrize("way", ["saved", "killed"])
def test_settlements_come_back_and_older_files_stay_readable(tmp_path: Path, way: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    mine, other = five()
    path = tmp_path / ".cellseg" / "annotations" / "a.jsonl"
    with Sessions.of_folder(tmp_path, user="ben") as sessions:
        session = sessions.open_session("a", SIZE, CLASSES)
        session.restore(mine, "start")
        sessions.save("a")
        assert '"version":2' in path.read_text("utf-8").splitlines()[0]
        disputes = Disputes(session, reader_of(other))
        session.do(settling(accepting, disputes), [2])
        session.do(taking(disputes, 3, session.next_id), ())
        session.do(taking(disputes, -15, session.next_id), ())
        session.do(leaving_out(disputes, -17, session.next_id), ())
        session.accept([1])
        if way == "saved":
            sessions.save("a")
            assert '"version":4' in path.read_text("utf-8").splitlines()[0]
        now = dict(session.cells)
    with Sessions.of_folder(tmp_path, user="ben") as sessions:
        again = sessions.open_session("a", SIZE, CLASSES, recover=True)
        assert again.cells.keys() == now.keys()
        assert all(one.equals(now[i]) for i, one in again.cells.items())
        assert again.cells[3].settled.before.area > again.cells[3].area
        assert again.cells[8].settled.before is None


def test_a_damaged_settlement_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    mine, other = five()
    with Sessions.of_folder(tmp_path, user="ben") as sessions:
        session = sessions.open_session("a", SIZE, CLASSES)
        session.restore(mine, "start")
        session.do(settling(accepting, Disputes(session, reader_of(other))), [2])
        sessions.save("a")
    path = tmp_path / ".cellseg" / "annotations" / "a.jsonl"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"outcome":"mine kept"', '"outcome":"nonsense"'), "utf-8")
    assert "outcome = " in read_annotations(path).problem
    path.write_text(text.replace('"before":[2,', '"before":[5,'), "utf-8")
    assert "settled as another cell" in read_annotations(path).problem

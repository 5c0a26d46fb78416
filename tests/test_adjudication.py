"""The adjudication of two readers' disagreements in the files of `agreement`: settled, open, and what that changed."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from two_readers import SIZE, two_projects

from napari_cellseg.cli import main
from napari_cellseg.report.agreement import names_of
from napari_cellseg.review import Author, Cell, ReviewSession, Status
from napari_cellseg.review.dispute_queue import DisputeQueue
from napari_cellseg.review.disputes import Disputes, OtherReader
from napari_cellseg.review.settling import leaving_out, settling, taking
from napari_cellseg.workspace import Sessions, look_at, open_project


def settle(first: Path, second: Path, user: str = "cleo") -> None:
    """Settle three of the four disputes in the project of ana: her class kept, ben's outline, ben's cell left out."""
    with Sessions(open_project(first, user=user)) as sessions:
        image_id = sessions.project.images[0].image_id
        session = sessions.open_session(image_id, SIZE)
        other = look_at(second).read(image_id)
        mine = sessions.read(image_id)
        reader = OtherReader(
            name="ben",
            names=names_of(other, second.name),
            own_names=names_of(mine, first.name),
            cells=other.cells,
        )
        disputes = Disputes(session, reader)
        items = {item.text: item.cell_id for item in DisputeQueue(session, disputes).items()}
        assert set(items) == {
            "ben: inflammatory", "outline differs (IoU 0.67)", "only you; ben rejected it", "only ben"
        }  # fmt: skip
        session.do(settling(accepting, disputes), [items["ben: inflammatory"]])
        session.do(taking(disputes, items["outline differs (IoU 0.67)"], session.next_id), ())
        session.do(leaving_out(disputes, items["only ben"], session.next_id), ())
        sessions.save(image_id)


def accepting(author: Author, cells: list[Cell]):
    return author.set_status(cells, Status.ACCEPTED)


@pytest.fixture
def projects(tmp_path: Path) -> tuple[Path, Path]:
    return two_projects(tmp_path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_settled_disputes_are_told_in_all_files_and_in_words(projects, tmp_path, capsys) -> None:
    table, page, protocol = tmp_path / "adjudication.csv", tmp_path / "page.html", tmp_path / "protocol.csv"
    options = ["--adjudication", str(table), "--html", str(page), "--csv", str(protocol)]
    assert main(["agreement", *map(str, projects), *options]) == 0
    said = capsys.readouterr().out
    assert "4 disputed cells: 0 settled, 4 open" in said
    assert "kappa before" not in said
    assert [row["state"] for row in rows_of(table)] == ["open"] * 4

    settle(*projects)
    assert main(["agreement", *map(str, projects), *options]) == 0
    said = capsys.readouterr().out
    assert "ana and ben: 1 image" in said, "not the name of who settled"
    assert "4 disputed cells: 3 settled (2 as ana decided, 1 as ben decided), 1 open" in said
    assert re.search(r"kappa before the first settlement 0\.\d+, now 0\.\d+", said)
    rows = {row["dispute"]: row for row in rows_of(table)}
    assert rows["other class"] | {
        "state": "settled", "outcome": "as ana decided", "settled_by": "cleo",
        "class_1": "other", "class_2": "inflammatory", "class_now": "other",
    } == rows["other class"]  # fmt: skip
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", rows["other class"]["settled_at"])
    assert rows["other mask"]["outcome"] == "as ben decided"
    lone = rows["missing in the first"]
    assert (lone["class_1"], lone["class_2"], lone["class_now"]) == ("", "epithelial", "")
    assert (rows["missing in the second"]["state"], rows["missing in the second"]["class_now"]) == ("open", "")
    kept = next(row for row in rows_of(protocol) if row["verdict"] == "other class")
    assert (kept["outcome"], kept["settled_by"]) == ("as ana decided", "cleo")
    text = page.read_text("utf-8")
    assert "<h2>Adjudication</h2>" in text
    assert "Settled by cleo (3)" in text
    assert "settled: as ana decided, cleo" in text


def test_the_agreement_before_is_that_of_the_files_before(projects, tmp_path, capsys) -> None:
    def figures(text: str) -> list[tuple[str, ...]]:
        return re.findall(
            r"<tr><td>([^<]+)</td><td>([^<]+)</td><td>([^<]+)</td><td>([^<]+)</td><td>([^<]+)</td></tr>", text
        )

    page = tmp_path / "page.html"
    main(["agreement", *map(str, projects), "--html", str(page)])
    heads = r"<tr><td>([^<]+)</td><td>\d+</td><td>\d+</td><td>\d+</td><td>([^<]+)</td><td>([^<]+)</td></tr>"
    before = re.findall(heads, page.read_text("utf-8"))
    assert len(before) == 4
    settle(*projects)
    main(["agreement", *map(str, projects), "--html", str(page)])
    text = page.read_text("utf-8")
    now = re.findall(heads, text)
    table = {row[0]: row[1:] for row in figures(text.partition("<h2>Adjudication</h2>")[2])}
    assert [(name, table[name][0], table[name][2]) for name, *_ in before] == before
    assert [(name, table[name][1], table[name][3]) for name, *_ in now] == now
    assert before != now
    capsys.readouterr()


def test_it_does_not_matter_which_project_comes_first(projects, capsys) -> None:
    settle(*projects)
    assert main(["agreement", *map(str, projects[::-1])]) == 0
    assert "4 disputed cells: 3 settled (2 as ana decided, 1 as ben decided), 1 open" in capsys.readouterr().out


def test_a_cell_that_both_reject_now_is_counted_once(projects, capsys) -> None:
    def rejecting(author: Author, cells: list[Cell]):
        return author.set_status(cells, Status.REJECTED)

    def act(session: ReviewSession, disputes: Disputes, items: dict[str, int]) -> None:
        session.do(settling(rejecting, disputes), [items["only you; ben rejected it"]])
        session.do(settling(rejecting, disputes), [items["ben: inflammatory"]])

    _with_disputes(*projects, "ana", "ben", act)
    main(["agreement", *map(str, projects)])
    assert "4 disputed cells: 2 settled" in (said := capsys.readouterr().out)
    assert "1 as ben decided" in said
    assert "1 both rejected" in said

    def keep(session: ReviewSession, disputes: Disputes, items: dict[str, int]) -> None:
        assert set(items) == {"outline differs (IoU 0.67)", "only you"}, "ana has settled two"
        session.do(settling(accepting, disputes), [items["outline differs (IoU 0.67)"]])

    _with_disputes(*projects[::-1], "ben", "ana", keep)
    main(["agreement", *map(str, projects)])
    assert "4 disputed cells: 3 settled" in capsys.readouterr().out


def _with_disputes(mine: Path, other: Path, user: str, name: str, act) -> None:
    with Sessions(open_project(mine, user=user)) as sessions:
        image_id = sessions.project.images[0].image_id
        session = sessions.open_session(image_id, SIZE)
        theirs = look_at(other).read(image_id)
        reader = OtherReader(
            name=name,
            names=names_of(theirs, other.name),
            own_names=names_of(sessions.read(image_id), mine.name),
            cells=theirs.cells,
        )
        disputes = Disputes(session, reader)
        act(session, disputes, {item.text: item.cell_id for item in DisputeQueue(session, disputes).items()})
        sessions.save(image_id)

"""Two readers of the same images: kappa, PQ, the cells on which they differ, the protocol and the page."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from two_readers import SIZE, box, review, two_projects

from napari_cellseg.classes import ClassTable
from napari_cellseg.cli import main
from napari_cellseg.report.agreement import kappa
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace import Sessions, open_project


@pytest.fixture
def projects(tmp_path: Path) -> tuple[Path, Path]:
    return two_projects(tmp_path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_protocol_says_who_decided_what_and_when(projects, tmp_path, capsys) -> None:
    table, page = tmp_path / "out/protocol.csv", tmp_path / "out/agreement.html"
    assert main(["agreement", *map(str, projects), "--csv", str(table), "--html", str(page)]) == 0
    rows = rows_of(table)
    assert [row["verdict"] for row in rows] == [
        "agree", "other class", "other mask", "agree", "missing in the second", "missing in the first",
    ]  # fmt: skip
    other = rows[1]
    assert (other["reader_1"], other["class_1"]) == ("ana", "other")
    assert (other["reader_2"], other["class_2"], other["status_2"]) == ("ben", "inflammatory", "edited")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", other["decided_at_2"])
    assert rows[2]["iou"] == "0.667"
    assert (rows[4]["status_2"], rows[4]["reader_2"]) == ("rejected", "ben")
    assert rows[5]["cell_1"] == ""

    said = capsys.readouterr().out
    assert "ana and ben: 1 image, 6 cells" in said
    assert re.search(r"inflammatory +2 +2 +1 +0\.\d+ +0\.\d+", said)
    assert "not reviewed in the first project" in said, "the other image"

    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<img ", text)) == 4, "one picture of each disagreement"
    assert "Agreement of ana and ben" in text
    assert "<script" not in text


def test_the_figures_do_not_depend_on_who_comes_first(projects, capsys) -> None:
    def figures(*order: Path) -> list[str]:
        assert main(["agreement", *map(str, order)]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line.split()[-2:] for line in lines[-4:]] + [line for line in lines if line.startswith("kappa")]

    assert figures(*projects) == figures(*projects[::-1])


def test_what_a_reader_has_not_decided_is_no_disagreement(projects, tmp_path) -> None:
    first, second = projects
    with Sessions(open_project(second, user="ben")) as sessions:
        image_id = sessions.project.images[0].image_id
        session = sessions.open_session(image_id, SIZE)
        session.delete([min(session.cells)])
        cells = ReviewSession(SIZE, session.classes)
        cells.add(1, box(0), np.ones((12, 12), bool))
        session.load_proposals(cells.instances(), "lite")
        sessions.save(image_id)
    assert main(["agreement", str(first), str(second), "--csv", str(tmp_path / "protocol.csv")]) == 0
    verdicts = [row["verdict"] for row in rows_of(tmp_path / "protocol.csv")]
    assert verdicts.count("undecided in the second") == 1
    assert verdicts.count("missing in the second") == 1


def test_projects_that_share_no_reviewed_image_are_refused(projects, tmp_path, capsys) -> None:
    other = tmp_path / "c"
    other.mkdir()
    Picture.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(other / "else.tif")
    assert main(["agreement", str(projects[0]), str(other)]) != 0
    assert "was reviewed in both" in capsys.readouterr().err


def test_kappa_is_that_of_cohen() -> None:
    assert kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)  # the example of the literature
    assert kappa(np.array([[7, 0], [0, 3]])) == 1
    assert math.isnan(kappa(np.array([[7, 0], [0, 0]])))
    assert math.isnan(kappa(np.zeros((2, 2), np.int64)))


def test_a_folder_is_not_compared_with_itself(projects, capsys) -> None:
    first = projects[0]
    assert main(["agreement", str(first), str(first / ".." / first.name)]) == 2
    assert "is compared with itself, which always agrees" in capsys.readouterr().err


def with_another_class(session: ReviewSession) -> None:
    session.classes = ClassTable((*session.classes.names, "mitosis"))
    session.add(5, (70, 70, 82, 82), np.ones((12, 12), bool))


def test_images_saved_before_a_class_was_added_are_compared(projects, tmp_path, capsys) -> None:
    review(projects[0], "ana", with_another_class, image=1)
    review(projects[1], "ben", lambda _: None, image=1)
    table = tmp_path / "protocol.csv"
    assert main(["agreement", *map(str, projects), "--csv", str(table), "--html", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    assert "ana and ben: 2 images, 12 cells" in said
    assert re.search(r"mitosis +1 +0", said)
    assert [row["class_1"] for row in rows_of(table)].count("mitosis") == 1


def test_an_image_with_other_classes_is_left_out_with_the_reason(projects, capsys) -> None:
    def rename(session: ReviewSession) -> None:
        session.classes = ClassTable(("a", "b", "c", "d"))

    for folder, user in zip(projects, ("ana", "ben"), strict=True):
        review(folder, user, rename, image=1)
    assert main(["agreement", *map(str, projects)]) == 0
    said = capsys.readouterr().out
    assert "ana and ben: 1 image, 6 cells" in said
    assert "saved with other classes (a, b, c, d) than the images before it" in said

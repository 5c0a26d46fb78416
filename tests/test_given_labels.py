"""Labels on disk are given, not reviewed, until the user decides about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_cellseg.export import ExportPlan, Which, export_folder, items_of
from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import UNDECIDED, QueueContent, ReviewQueue, Status
from napari_cellseg.workspace import Sessions, read_annotations
from napari_cellseg.workspace.labels import summary_of_labels

ID = "tissue_01"
SIZE = (96, 96)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_training_folder(tmp_path, 1, SIZE, seed=0)
    return tmp_path / "train"


def test_the_summary_is_the_same_before_and_after_an_image_is_opened_and_saved(folder: Path) -> None:
    with Sessions.of_folder(folder) as sessions:
        before = summary_of_labels(sessions.project.file(ID))
        assert before is not None
        assert before.progress.given == before.progress.total > 0
        sessions.open_session(ID, SIZE)
        assert sessions.summary(ID) == before
        sessions.save(ID)
        sessions.close_session(ID)
        saved = sessions.summary(ID)
    assert saved is not None
    assert (saved.cells, saved.progress) == (before.cells, before.progress)


def test_given_cells_are_queued_only_on_request_and_decided_like_others(folder: Path) -> None:
    with Sessions.of_folder(folder) as sessions:
        session = sessions.open_session(ID, SIZE)
        queue = ReviewQueue(session)
        assert queue.items() == []
        queue.content = QueueContent.GIVEN
        first, second, third, *_ = (item.cell_id for item in queue.items())
        session.accept([first])
        session.reject([second])
        session.reclassify([third], 1 + session.cells[third].class_id % len(session.classes))
        assert [session.cells[i].status for i in (first, second, third)] == [
            Status.ACCEPTED,
            Status.REJECTED,
            Status.EDITED,
        ]
        assert session.progress.reviewed == 3
        assert first not in {item.cell_id for item in queue.items()}
        for _ in range(3):
            session.undo()
        assert session.progress.reviewed == 0


def test_a_model_does_not_propose_what_is_given(folder: Path) -> None:
    with Sessions.of_folder(folder) as sessions:
        session = sessions.open_session(ID, SIZE)
        given = session.instances()
        session.load_proposals(given)
        assert session.count(statuses=(Status.PROPOSED,)) == 0
        assert session.count(statuses=(Status.GIVEN,)) == len(given)
        session.load_proposals(InstanceMasks.empty(SIZE))
        assert session.count(statuses=(Status.GIVEN,)) == len(given), "another prediction leaves them"


def test_the_journal_brings_decisions_about_given_cells_back(folder: Path) -> None:
    with Sessions.of_folder(folder) as sessions:
        session = sessions.open_session(ID, SIZE)
        chosen = min(session.cells)
        session.accept([chosen])
    with Sessions.of_folder(folder) as sessions:
        session = sessions.open_session(ID, SIZE, recover=True)
        assert session.cells[chosen].status is Status.ACCEPTED
        assert {cell.status for cell in session.cells.values() if cell.cell_id != chosen} == {Status.GIVEN}


def test_files_of_version_1_are_read_and_their_undecided_labels_are_given(folder: Path) -> None:
    with Sessions.of_folder(folder, user="ana") as sessions:
        session = sessions.open_session(ID, SIZE)
        chosen = min(session.cells)
        session.accept([chosen])
        sessions.save(ID)
        path = sessions.project.annotations_file(ID)
    assert path is not None
    header, *lines = path.read_text().splitlines()
    old = json.loads(header)
    del old["given"]
    old |= {"version": 1, "reviewed": old["reviewable"]}
    path.write_text("\n".join([json.dumps(old), *(line.replace('"given"', '"accepted"') for line in lines), ""]))
    found = read_annotations(path)
    assert not found.problem
    assert [cell.cell_id for cell in found.cells if cell.status is Status.ACCEPTED] == [chosen]
    assert sum(cell.status in UNDECIDED for cell in found.cells) == len(found.cells) - 1
    with Sessions.of_folder(folder) as sessions:
        summary = sessions.summary(ID)
        assert summary is not None
        assert (summary.progress.reviewed, summary.progress.given) == (1, len(found.cells) - 1)


def test_exports_say_which_cells_are_given(folder: Path, tmp_path: Path) -> None:
    with Sessions.of_folder(folder, user="ana") as sessions:
        session = sessions.open_session(ID, SIZE)
        chosen = min(session.cells)
        session.accept([chosen])
        formats = frozenset({"geojson", "coco", "measurements"})
        plan = ExportPlan(folder=tmp_path / "out", formats=formats)
        for _ in export_folder(items_of(sessions, Which.ALL), session.classes, plan):
            pass
        expected = sorted(["accepted"] + ["given"] * (len(session.cells) - 1))
        assert items_of(sessions, Which.REVIEWED) == (), "given labels are not reviewed"
    geojson = json.loads((tmp_path / "out" / "geojson" / f"{ID}.geojson").read_text())
    assert sorted(f["properties"]["metadata"]["status"] for f in geojson["features"]) == expected
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert sorted(row["status"] for row in coco["annotations"]) == expected
    table = np.genfromtxt(
        tmp_path / "out" / "measurements.csv", delimiter=",", names=True, dtype=None, encoding="utf-8-sig"
    )
    assert sorted(table["status"]) == expected

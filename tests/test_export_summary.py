"""What the summary of an export says about images and cells that are not as they should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import CLASSES, SIZE, some_cells

from napari_cellseg.events import drive
from napari_cellseg.export import EXPORTER_NAMES, ExportPlan, ExportSummary, Which, export_folder, items_of
from napari_cellseg.workspace import Sessions


def write(folder: Path, name: str) -> Path:
    tifffile.imwrite(folder / name, np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    return folder / name


def export(sessions: Sessions, out: Path) -> ExportSummary:
    plan = ExportPlan(folder=out, formats=frozenset({"geojson"}))
    return drive(export_folder(items_of(sessions, Which.ALL), CLASSES, plan))


def test_proposals_that_no_one_reviewed_and_images_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write(tmp_path, name)
    broken = write(tmp_path, "c.tif")
    broken.write_bytes(broken.read_bytes()[:100])
    with Sessions.of_folder(tmp_path) as sessions:
        session = sessions.open_session("a", SIZE, CLASSES)
        session.load_proposals(some_cells(20, 0))
        cells = list(session.cells)
        session.accept(cells[:3])
        session.reject(cells[3:5])
        summary = export(sessions, tmp_path / "out")
    left = len(cells) - 2
    assert summary.unreviewed == left - 3
    assert (summary.not_annotated, len(summary.problems)) == (1, 1)
    ((image_id, text),) = summary.problems
    assert image_id == "c"
    assert "Cannot read" in text
    unreviewed = f"{left - 3} of {left} cells are not reviewed"
    assert str(summary) == f"1 image, 0 without cells, 1 not annotated and left out, {unreviewed}, 1 problem"


@pytest.mark.parametrize("without_annotations", [0, 1])
def test_an_export_of_no_image_leaves_the_files_of_an_earlier_export(tmp_path: Path, without_annotations: int) -> None:
    plan = ExportPlan(folder=tmp_path / "out", formats=frozenset(EXPORTER_NAMES))
    images = tmp_path / "images"
    images.mkdir()
    broken = write(images, "a.tif")
    with Sessions.of_folder(images) as sessions:
        sessions.open_session("a", SIZE, CLASSES).load_proposals(some_cells(20, 0))
        drive(export_folder(items_of(sessions, Which.ALL), CLASSES, plan))
        before = {path: path.read_bytes() for path in plan.folder.rglob("*") if path.is_file()}
        assert plan.folder / "coco.json" in before
        assert plan.folder / "test-results.json" in before
        sessions.save("a")
        sessions.close_session("a")
    broken.write_bytes(broken.read_bytes()[:100])
    for i in range(without_annotations):
        write(images, f"b{i}.tif")
    with Sessions.of_folder(images) as sessions:
        summary = drive(export_folder(items_of(sessions, Which.ALL), CLASSES, plan))
        assert (summary.images, summary.not_annotated, summary.files) == (0, without_annotations, ())
        assert len(summary.problems) == 1
        also = " and 1 without annotations" * without_annotations
        assert summary.hint == f"Nothing was exported: 1 image with problems{also}. No file was written."
        none = drive(export_folder((), CLASSES, plan))
        assert none.hint == "Nothing was exported: no image was chosen. No file was written."
        elsewhere = replace(plan, folder=tmp_path / "elsewhere")
        drive(export_folder(items_of(sessions, Which.ALL), CLASSES, elsewhere))
    assert {path: path.read_bytes() for path in plan.folder.rglob("*") if path.is_file()} == before
    assert not elsewhere.folder.exists()

"""What the summary of an export says about images and cells that are not as they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from review_actions import CLASSES, SIZE, some_cells

from napari_cellseg.events import drive
from napari_cellseg.export import ExportPlan, ExportSummary, Which, export_folder, items_of
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

"""How many edits are not saved yet: what the user did, and did not take back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import CLASSES, SIZE, some_cells

from napari_cellseg.review import ArrivingCells, ReviewSession
from napari_cellseg.workspace import Sessions, recoverable


@pytest.fixture
def workspace(tmp_path: Path) -> Sessions:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    return Sessions.of_folder(tmp_path, user="ana")


def opened(workspace: Sessions, count: int = 10) -> ReviewSession:
    session = workspace.open_session("a", SIZE, CLASSES)
    session.load_proposals(some_cells(count, 0))
    workspace.save("a")
    return session


def test_each_edit_counts_and_undo_takes_it_back(workspace: Sessions) -> None:
    with workspace:
        session = opened(workspace)
        counts = []
        for step in ("accept", "accept", "undo", "redo", "undo", "accept", "undo", "undo"):
            waiting = [i for i, cell in session.cells.items() if not cell.reviewed]
            session.accept(waiting[:1]) if step == "accept" else getattr(session, step)()
            counts.append(workspace.unsaved_edits("a"))
        assert counts == [1, 2, 1, 2, 1, 2, 1, 0]
        assert not workspace.is_modified("a")


def test_undo_behind_the_save_is_an_edit_too(workspace: Sessions) -> None:
    with workspace:
        session = opened(workspace)
        first, second, *_ = session.cells
        session.accept([first])
        workspace.save("a")
        session.undo()
        assert workspace.unsaved_edits("a") == 1
        session.redo()
        assert workspace.unsaved_edits("a") == 0
        session.undo()
        session.accept([second])  # the saved state cannot come back
        assert workspace.unsaved_edits("a") == 2
        session.undo()
        assert workspace.unsaved_edits("a") == 1
        session.accept([first])
        workspace.save("a")
        assert workspace.unsaved_edits("a") == 0


def test_the_tiles_of_a_segmentation_are_one_edit_also_when_it_is_recovered(workspace: Sessions) -> None:
    with workspace:
        session = workspace.open_session("a", SIZE, CLASSES)
        found = some_cells(20, 1)
        found = replace(found, scores=np.linspace(0.9, 0.5, len(found), dtype=np.float32))
        arriving = ArrivingCells(session, "model")
        for part in (5, 10, 20):
            arriving.show(found.select(np.arange(len(found)) < part))
            assert workspace.unsaved_edits("a") == 1
        session.accept([min(session.cells)])
        assert workspace.unsaved_edits("a") == 2
        project = workspace.project
    assert recoverable(project, "a").edits == 2

"""Two copies of a folder, reviewed by ana and ben, for the tests of their agreement."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_cellseg.images.samples import write_training_folder
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace import Sessions, open_project

SIZE = (96, 96)


def review(folder: Path, user: str, act: Callable[[ReviewSession], None], image: int = 0) -> None:
    """Let a user review one image of a folder, and save."""
    with Sessions(open_project(folder, user=user)) as sessions:
        file = sessions.project.images[image]
        session = sessions.open_session(file.image_id, SIZE)
        session.restore([], "an empty image")
        for i, class_id in enumerate((1, 1, 2, 2, 3)):
            session.add(class_id, box(i), np.ones((12, 12), bool))
        act(session)
        sessions.save(file.image_id)


def box(i: int) -> tuple[int, int, int, int]:
    x, y = 5 + 28 * (i % 3), 5 + 28 * (i // 3)
    return x, y, x + 12, y + 12


def two_projects(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folders of ana and ben: one cell of another class, one of another shape, one rejected, one added."""
    write_training_folder(tmp_path, 2, SIZE)
    shutil.rmtree(tmp_path / "train" / ".cellseg", ignore_errors=True)
    first, second = tmp_path / "a", tmp_path / "b"
    shutil.copytree(tmp_path / "train", first)
    shutil.copytree(tmp_path / "train", second)

    def ben(session: ReviewSession) -> None:
        ids = sorted(session.cells)
        session.reclassify([ids[1]], 2)
        x0, y0, _, _ = box(2)
        session.delete([ids[2]])
        session.add(2, (x0, y0, x0 + 12, y0 + 8), np.ones((8, 12), bool))  # IoU 0.67
        session.reject([ids[3]])
        session.add(3, (70, 70, 82, 82), np.ones((12, 12), bool))

    review(first, "ana", lambda _: None)
    review(second, "ben", ben)
    return first, second

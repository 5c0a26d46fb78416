"""The worst cells come in the same order after the image is opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import CLASSES, SIZE, some_cells

from napari_cellseg.review import ReviewQueue, ReviewSession
from napari_cellseg.workspace import Sessions


def order_of(session: ReviewSession) -> list[tuple[int, float, str]]:
    return [(item.cell_id, item.doubt, item.text) for item in ReviewQueue(session).items()]


@pytest.mark.parametrize("seed", range(4))
def test_the_order_is_the_same_after_decisions_a_save_and_a_new_opening(tmp_path: Path, seed: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    rng = np.random.default_rng(seed)
    with Sessions.of_folder(tmp_path, user="ana") as sessions:
        session = sessions.open_session("a", SIZE, CLASSES)
        session.load_proposals(some_cells(60, seed))
        queue = ReviewQueue(session)
        queue.items()
        chosen = rng.permutation(list(session.cells)).tolist()
        session.accept(chosen[:8])
        session.reject(chosen[8:25])
        before = [(item.cell_id, item.doubt, item.text) for item in queue.items()]
        assert len(before) > 20
        sessions.save("a")
    with Sessions.of_folder(tmp_path, user="ana") as sessions:
        assert order_of(sessions.open_session("a", SIZE, CLASSES)) == before

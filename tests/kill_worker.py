"""A viewer without a window: edits an image until it is killed. Run by test_workspace_kill.

After each command it says on stdout when that was, and a checksum of the cells.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Mapping

import numpy as np
from review_actions import CLASSES, SIZE, act, some_cells

from napari_cellseg.review import Cell
from napari_cellseg.workspace import Sessions, recoverable


def checksum(cells: Mapping[int, Cell]) -> str:
    total = 0
    for _, cell in sorted(cells.items()):
        about = (cell.cell_id, cell.class_id, cell.score, cell.status, cell.box, cell.label_value, cell.by, cell.at)
        total = zlib.crc32(np.packbits(cell.mask).tobytes(), zlib.crc32(repr(about).encode(), total))
    return f"{total:08x}"


def main(folder: str, seed: int, edits: int) -> None:
    workspace = Sessions.of_folder(folder, user="ana")
    session = workspace.open_session("a", SIZE, CLASSES, recover=recoverable(workspace.project, "a") is not None)
    done = 0

    def tell(_: object) -> None:
        nonlocal done
        done += 1
        sys.stdout.write(f"{time.time()} {checksum(session.cells)}\n")
        sys.stdout.flush()

    tell(None)
    # In front of the journal: a kill between the two must not find an edit on disk that was never told.
    session._listeners.insert(0, tell)
    if seed % 5 == 0:
        session.load_proposals(some_cells(60, seed))
    rng = np.random.default_rng(seed)
    while done < edits:
        act(session, rng)
        if rng.random() < 0.01:
            workspace.save("a")
        time.sleep(0.003)
    time.sleep(60)  # the work is done, the viewer still open: a kill must find it all on disk


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

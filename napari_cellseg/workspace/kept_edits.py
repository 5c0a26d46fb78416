"""Edits that cannot be saved in their project, kept in the user's data folder as a journal of one change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from napari_cellseg.atomic import export_write
from napari_cellseg.review import Cell, ReviewSession
from napari_cellseg.workspace.about_lines import about_record
from napari_cellseg.workspace.annotations import Annotations
from napari_cellseg.workspace.cell_lines import rows_of_cells
from napari_cellseg.workspace.journal import pack, start_record
from napari_cellseg.workspace.places import file_errors, set_aside

__all__ = ["keep_edits", "set_aside_kept"]


def keep_edits(path: Path, start: Annotations, session: ReviewSession, edits: int) -> None:
    """Write the difference between the saved cells and those of a session as one change.

    Parameters
    ----------
    path : Path
        The journal to write.
    start : Annotations
        The cells that are saved.
    session : ReviewSession
    edits : int
        Number of edits.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    saved: Mapping[int, Cell] = {cell.cell_id: cell for cell in start.cells}
    now = session.cells
    text = session.undo_text or "undo"
    change = {
        "at": time.time(),
        "text": text,
        "kind": "do",
        "edits": edits,
        "gone": [cell_id for cell_id in saved if cell_id not in now],
        "put": rows_of_cells([cell for cell_id, cell in now.items() if saved.get(cell_id) is not cell]),
        **({} if session.about == start.about else {"about": about_record(session.about)}),
    }
    with file_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with export_write(path) as file:
        file.write(pack(start_record(start, saved=True, user=session.user)) + pack(change))


def set_aside_kept(path: Path) -> None:
    """Rename kept edits to ``.bak``; does nothing if there are none.

    Raises
    ------
    ExportError
        The file cannot be renamed.
    """
    if path.exists():
        with file_errors(path.parent):
            set_aside(path)

"""Where the decisions about the cells of a store are, and which file they follow when a store is set aside."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path

from napari_cellseg.errors import CellSegError
from napari_cellseg.formats.cell_file import set_database_aside
from napari_cellseg.formats.cell_reader import CellReader

__all__ = ["decisions_file", "set_decisions_aside"]

_BACKUP = re.compile(r"\.bak\d*")


def decisions_file(store: Path) -> Path:
    """Return where the decisions about the cells of a store are."""
    if _BACKUP.fullmatch(store.suffix):  # each backup has its own
        return store.with_name(f"{store.name}.decisions")
    return store.with_suffix(".decisions")


def set_decisions_aside(path: Path, store: Path, is_of: Callable[[CellReader], bool]) -> Path | None:
    """Rename decisions about an earlier prediction so that they are found with its backup; return the new path.

    Parameters
    ----------
    path : Path
    store : Path
        The store that has the name of the earlier one now.
    is_of : callable
        Returns whether the decisions are about the cells of a backup.

    Raises
    ------
    OSError
        As the file system raises it.
    """
    for backup in sorted(store.parent.glob(f"{glob.escape(store.name)}.bak*")):
        kept = decisions_file(backup)
        if _BACKUP.fullmatch(backup.suffix) and not kept.exists() and _is_of(backup, is_of):
            return set_database_aside(path, kept)
    return set_database_aside(path)


def _is_of(backup: Path, is_of: Callable[[CellReader], bool]) -> bool:
    try:
        with CellReader(backup) as reader:
            return is_of(reader)
    except CellSegError:  # the decisions are kept under a name of their own
        return False

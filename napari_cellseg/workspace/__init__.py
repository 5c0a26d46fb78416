"""A folder of images as a project: annotations, journal and recovery, lock. No Qt.

`Project` holds the state on disk, for any thread; `Sessions` holds the reviews, for the window's thread.
"""

from __future__ import annotations

from napari_cellseg.workspace.annotations import Annotations, ImageSummary, read_annotations
from napari_cellseg.workspace.journal import Recovery
from napari_cellseg.workspace.loading import LoadedCells, load_cells
from napari_cellseg.workspace.lock import LockOwner
from napari_cellseg.workspace.open_project import look_at, open_project
from napari_cellseg.workspace.project import Project
from napari_cellseg.workspace.recovery import recoverable
from napari_cellseg.workspace.sessions import Sessions
from napari_cellseg.workspace.status import SaveKind, SaveStatus

__all__ = [
    "Annotations",
    "ImageSummary",
    "LoadedCells",
    "LockOwner",
    "Project",
    "Recovery",
    "SaveKind",
    "SaveStatus",
    "Sessions",
    "load_cells",
    "look_at",
    "open_project",
    "read_annotations",
    "recoverable",
]

"""A folder of images as a project: annotations, journal and recovery, lock. No Qt."""

from __future__ import annotations

from napari_cellseg.workspace.annotations import Annotations, ImageSummary, read_annotations
from napari_cellseg.workspace.folder import Workspace
from napari_cellseg.workspace.journal import Recovery
from napari_cellseg.workspace.lock import LockOwner

__all__ = ["Annotations", "ImageSummary", "LockOwner", "Recovery", "Workspace", "read_annotations"]

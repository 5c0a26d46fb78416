"""What changes between the annotations and the user's own ``class*.tif``; for the window's thread only."""

from __future__ import annotations

from dataclasses import replace

from napari_cellseg.workspace.annotations import read_annotations, read_header, write_annotations
from napari_cellseg.workspace.labels import label_stamps
from napari_cellseg.workspace.places import annotations_file, file_errors, set_aside
from napari_cellseg.workspace.sessions import Sessions

__all__ = ["forget_annotations", "note_labels"]


def note_labels(sessions: Sessions, image_id: str) -> None:
    """Record the present ``class*.tif`` of an image that is not open as those of its saved annotations.

    Raises
    ------
    ExportError
        As `Sessions.save`.
    """
    sessions.check_mine()
    project = sessions.project
    path = project.annotations_file(image_id)
    if path is not None:
        stamps = label_stamps(project.file(image_id))
        write_annotations(path, replace(read_annotations(path), labels=stamps), read_header(path).summary)


def forget_annotations(sessions: Sessions, image_id: str) -> None:
    """Restart from the ``class*.tif``: rename saved annotations to ``.bak``. The image must not be open.

    Raises
    ------
    ExportError
        As `Sessions.save`.
    """
    sessions.check_mine()
    path = annotations_file(sessions.project.state_folder, image_id)
    if path.exists():
        with file_errors(path.parent):
            set_aside(path)
    sessions.discard(image_id)

"""Edits that a viewer left unsaved: in the journals of a project, or kept in the user's data folder."""

from __future__ import annotations

from napari_cellseg.workspace.annotations import read_header
from napari_cellseg.workspace.journal import Journal, Recovery, read_journal
from napari_cellseg.workspace.places import journal_file
from napari_cellseg.workspace.project import Project

__all__ = ["kept_journal", "recoverable", "unsaved_journal"]


def recoverable(project: Project, image_id: str) -> Recovery | None:
    """Return the edits that a viewer left unsaved, for an image that is not open.

    Raises
    ------
    AnnotationError
        The journal or the annotations cannot be read.
    """
    journal = unsaved_journal(project, image_id) or kept_journal(project, image_id)
    return None if journal is None else journal.recovery(image_id)


def unsaved_journal(project: Project, image_id: str) -> Journal | None:
    """Return the journal of an image if it has changes that the saved annotations do not have.

    Raises
    ------
    AnnotationError
        As `recoverable`.
    """
    journal = read_journal(journal_file(project.state_folder, image_id))
    if journal is None or not journal.changes:
        return None
    path = project.annotations_file(image_id)
    if path is not None:  # another revision if a viewer was killed just after saving, or an old file was restored
        return journal if read_header(path).revision == journal.base else None
    return journal if journal.has_cells else None


def kept_journal(project: Project, image_id: str) -> Journal | None:
    """Return the edits of an image that were kept in the user's data folder.

    Raises
    ------
    AnnotationError
        As `recoverable`.
    """
    journal = read_journal(project.kept_file(image_id))
    return journal if journal is not None and journal.changes else None

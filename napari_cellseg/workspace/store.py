"""`ProposalStore`: stores predictions as proposals of the images of a project, for a worker and for the window."""

from __future__ import annotations

import time
from collections.abc import Mapping

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace.annotations import Annotations, new_revision, summarise, write_annotations
from napari_cellseg.workspace.labels import label_stamps, long_enough
from napari_cellseg.workspace.places import annotations_file, file_errors
from napari_cellseg.workspace.project import Project
from napari_cellseg.workspace.recovery import recoverable
from napari_cellseg.workspace.sessions import Sessions

__all__ = ["ProposalStore", "store_in_session"]


class ProposalStore:
    """Writes the proposals of images that no window has open; for one worker, which runs while the window edits others.

    Parameters
    ----------
    project : Project
        With its own share in the lock, so that the folder stays locked when the window closes it.
    """

    def __init__(self, project: Project) -> None:
        self.project = project

    def put(self, image_id: str, cells: InstanceMasks, by: str, min_scores: Mapping[int, float]) -> bool:
        """Store predictions as proposals of an image; cells that the user decided about stay.

        Returns
        -------
        bool
            Whether the image is saved; False if a window has the image open or is opening it, and must store the cells
            with `store_in_session`.

        Raises
        ------
        AnnotationError
            The cells do not fit the image or its classes, or the image has edits of a viewer that ended without
            saving.
        ExportError
            The cells cannot be written.
        """
        self.project.check_writable()
        lease = self.project.lease
        assert lease is not None, "or it would not be writable"
        with lease.hold.claims.writing(image_id) as may_write:
            if may_write:
                self._write(image_id, cells, by, min_scores)
            return may_write

    def _write(self, image_id: str, cells: InstanceMasks, by: str, min_scores: Mapping[int, float]) -> None:
        project = self.project
        if recoverable(project, image_id) is not None:
            raise AnnotationError(f"{image_id} has edits that were never saved. Open it to recover or discard them.")
        base = project.base(image_id, cells.image_size)
        table = long_enough(project.classes or base.classes, base.classes, base.cells)
        session = ReviewSession(cells.image_size, table, base.cells, user=project.user, next_id=base.next_id)
        session.set_min_scores(min_scores)
        session.load_proposals(cells, by)
        kept, minimum = tuple(session.cells.values()), dict(session.min_scores)
        stamps = label_stamps(project.file(image_id))
        found = Annotations(
            image_size=cells.image_size,
            classes=table,
            cells=kept,
            min_scores=minimum,
            next_id=session.next_id,
            revision=new_revision(),
            labels=stamps,
            about=base.about,
        )
        path = annotations_file(project.state_folder, image_id)
        with file_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_annotations(path, found, summarise(kept, minimum, time.time()))


def store_in_session(sessions: Sessions, image_id: str, cells: InstanceMasks, by: str) -> bool:
    """Store predictions as proposals of an open image; for the window's thread only.

    Returns
    -------
    bool
        Whether the image is saved. An image with unsaved edits gets the proposals and stays unsaved: the user
        decides whether to save the edits.

    Raises
    ------
    AnnotationError
        The cells do not fit the image or its classes, or edits are refused.
    ExportError
        They cannot be written.
    """
    was_modified = sessions.is_modified(image_id)
    sessions.open_session(image_id, cells.image_size).load_proposals(cells, by)
    if not was_modified:
        sessions.save(image_id)
    return not was_modified

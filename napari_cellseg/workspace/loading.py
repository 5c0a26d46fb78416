"""The initial cells of a review, read from disk by a worker."""

from __future__ import annotations

from dataclasses import dataclass

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.damaged import heard_damage
from napari_cellseg.review import ReviewSession
from napari_cellseg.workspace.annotations import Annotations
from napari_cellseg.workspace.journal import Journal
from napari_cellseg.workspace.labels import long_enough
from napari_cellseg.workspace.project import Project
from napari_cellseg.workspace.recovery import kept_journal, unsaved_journal

__all__ = ["LoadedCells", "load_cells"]


@dataclass(frozen=True, kw_only=True)
class LoadedCells:
    """The cells of one image, read from disk; `Sessions.open` turns them into a review.

    Attributes
    ----------
    image_id : str
    session : ReviewSession
        The cells and their class table.
    base : Annotations
        The state that a journal of this review continues.
    is_saved : bool
        Whether ``base`` is in the annotations file.
    journal : Journal or None
        The recovered edits; ``session`` already includes them.
    recover : bool
        Whether unsaved edits were recovered; otherwise they are renamed to ``.bak``.
    kept : Journal or None
        Edits that could not be saved in the project and were kept elsewhere; to be repeated.
    problem : str
        The damaged parts of its files that are not among the cells, in words.
    """

    image_id: str
    session: ReviewSession
    base: Annotations
    is_saved: bool
    journal: Journal | None = None
    recover: bool = False
    kept: Journal | None = None
    problem: str = ""


def load_cells(
    project: Project,
    image_id: str,
    image_size: tuple[int, int],
    classes: ClassTable | None = None,
    *,
    recover: bool = False,
) -> LoadedCells:
    """Read the initial cells of a review: the saved cells, else ``class*.tif`` (given), else none.

    Parameters
    ----------
    project : Project
    image_id : str
        Of an image of the project.
    image_size : (int, int)
        Height and width of the image, px.
    classes : ClassTable, optional
        The project's if left out; extended by classes that cells have and the table lacks.
    recover : bool
        Include the edits that `recovery.recoverable` returns; otherwise they are renamed to ``.bak``.

    Raises
    ------
    AnnotationError
        The annotations or label images are damaged, or of an image of another size.
    """
    path = project.annotations_file(image_id)
    with heard_damage() as damage:
        base = project.base(image_id, image_size)
        journal = unsaved_journal(project, image_id) if recover else None
        kept = kept_journal(project, image_id) if recover and journal is None else None
    cells, next_id, begin, about = base.cells, base.next_id, base, base.about
    if journal is not None:
        begin = journal.begins_with() or base
        cells, about = journal.replay(base.cells), journal.about(base.about)
    table = long_enough(classes or project.classes or base.classes, base.classes, cells)
    session = ReviewSession(image_size, table, cells, user=project.user, next_id=next_id, about=about)
    session.set_min_scores(begin.min_scores)
    return LoadedCells(
        image_id=image_id,
        session=session,
        base=begin,
        is_saved=path is not None,
        journal=journal,
        recover=recover,
        kept=kept,
        problem=" ".join(damage),
    )

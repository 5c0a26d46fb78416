"""One image under review: its session, with the journal and the annotations file that record it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from napari_cellseg.atomic import atomic_write
from napari_cellseg.review import Cell, Change, ChangeKind, ReviewSession
from napari_cellseg.workspace.annotations import (
    Annotations,
    LabelStamps,
    cell_lines,
    new_revision,
    summarise,
    write_annotations,
)
from napari_cellseg.workspace.journal import Journal, change_record, pack, start_record
from napari_cellseg.workspace.journal_writer import JournalWriter
from napari_cellseg.workspace.loading import LoadedCells
from napari_cellseg.workspace.places import annotations_file, file_errors, journal_file, set_aside
from napari_cellseg.workspace.project import Project

__all__ = ["OpenImage", "open_image"]


def open_image(project: Project, loaded: LoadedCells, writer: JournalWriter | None) -> OpenImage:
    """Start the review of an image; every command is journalled by the writer. None: nothing is written.

    Raises
    ------
    ExportError
        The journal of recovered edits cannot be written.
    """
    path = journal_file(project.state_folder, loaded.image_id)
    if writer is not None:
        with file_errors(path.parent):
            _begin_journal(path, loaded.journal)
    return OpenImage(
        loaded.session,
        loaded.base,
        annotations_file=annotations_file(project.state_folder, loaded.image_id),
        journal_file=path,
        writer=writer,
        saved=loaded.is_saved,
        recovered=loaded.journal is not None,
        problem=loaded.problem,
    )


def _begin_journal(path: Path, journal: Journal | None) -> None:
    """Keep recovered edits, and rename others to ``.bak``.

    The journal becomes a new file: a viewer that lost its lock may still write into the old one.
    """
    if path.exists():
        kept = set_aside(path)
        if journal is not None and kept is not None:
            with kept.open("rb") as file, atomic_write(path) as copy:
                copy.write(file.read(journal.end))  # without its damaged tail


class _EditCount:
    """Counts commands since the last save: undo takes one off, or adds one where it goes back behind the save."""

    def __init__(self, session: ReviewSession) -> None:
        self._history = session.history
        self.restart()

    def restart(self) -> None:
        """Count from the present state."""
        self._ahead = self._lost = 0
        self._pushed = self._history.pushed

    @property
    def count(self) -> int:
        """The number of edits."""
        return self._lost + abs(self._ahead)

    def note(self, kind: ChangeKind) -> None:
        """Count a change of the session; one that was added to an earlier command is none."""
        is_new, self._pushed = self._history.pushed != self._pushed, self._history.pushed
        if kind is ChangeKind.DO and is_new:
            if self._ahead < 0:  # what was undone behind the save cannot be redone any more
                self._lost, self._ahead = self._lost - self._ahead, 0
            self._ahead += 1
        elif kind is ChangeKind.UNDO:
            self._ahead -= 1
        elif kind is ChangeKind.REDO:
            self._ahead += 1


class OpenImage:
    """A session whose changes are journalled.

    Parameters
    ----------
    session : ReviewSession
    base : Annotations
        The cells that the journal starts from.
    annotations_file, journal_file : Path
    writer : JournalWriter or None
        None for a folder that another viewer holds; nothing is written then.
    saved : bool
        Whether ``base`` is in the annotations file.
    recovered : bool
        Whether the session starts with changes that are already in the journal file.
    problem : str
        The damaged parts of its files that are left out, in words, until it is saved.
    """

    def __init__(
        self,
        session: ReviewSession,
        base: Annotations,
        *,
        annotations_file: Path,
        journal_file: Path,
        writer: JournalWriter | None,
        saved: bool,
        recovered: bool,
        problem: str = "",
    ) -> None:
        self.session = session
        self.problem = problem
        self.annotations_file = annotations_file
        self.journal_file = journal_file
        self._writer = writer
        self._saved, self._edits = base, _EditCount(session)
        self.kept_state: object = None
        """The state of the session that is kept elsewhere; None if there is none."""
        self._saved_state: object = None if recovered else session.state
        # The journal does not exist before the first change: viewing an image leaves no trace.
        self._start: Annotations | None = None if recovered else base
        self._start_is_saved = saved
        self.saved_at: float | None = None
        """Time of the last save in this review, seconds since 1970."""
        self._lines: dict[int, tuple[Cell, str]] = {}
        self._unsubscribe = session.subscribe(self._on_change)

    @property
    def is_modified(self) -> bool:
        """Whether the cells differ from the saved (or initial) cells."""
        return self.session.state is not self._saved_state

    @property
    def unsaved_edits(self) -> int:
        """What the user did since the last save and has not undone; 0 if the cells equal the saved cells."""
        return max(self._edits.count, 1) if self.is_modified else 0

    def unsaved_start(self) -> Annotations:
        """Return the saved (or initial) cells."""
        return self._saved

    def refuse_edits(self, reason: str) -> None:
        """Refuse all further commands; the journal belongs to another viewer."""
        self.session.refusal = reason
        self._writer = None

    def annotations(self, labels: LabelStamps | None = None) -> Annotations:
        """Return the present cells as a new revision."""
        session = self.session
        cells = tuple(session.cells.values())
        minimum = dict(session.min_scores)
        return Annotations(
            image_size=session.image_size,
            classes=session.classes,
            cells=cells,
            min_scores=minimum,
            next_id=session.next_id,
            revision=new_revision(),
            labels=labels or {},
            about=session.about,
        )

    def save(self, labels: LabelStamps) -> None:
        """Write the annotations and start a new journal. ``labels`` describes the label images on disk.

        Raises
        ------
        ExportError
            They cannot be written; the journal then still has every change.
        """
        state, annotations = self.session.state, self.annotations(labels)
        now = time.time()
        summary = summarise(annotations.cells, annotations.min_scores, now)
        with file_errors(self.annotations_file.parent):
            self.annotations_file.parent.mkdir(parents=True, exist_ok=True)
        write_annotations(self.annotations_file, annotations, summary, self._cell_lines(annotations.cells))
        if self._writer is not None:
            self._writer.remove(self.journal_file)
        self._saved_state, self.saved_at = state, now
        self._start, self._start_is_saved = annotations, True
        self._saved, self.kept_state = annotations, None
        self._edits.restart()
        self.problem = ""

    def _cell_lines(self, cells: Sequence[Cell]) -> list[str]:
        """Return one line per cell, formatted again only for cells that changed since the last save."""
        known = self._lines
        stale = [cell for cell in cells if cell.cell_id not in known or known[cell.cell_id][0] is not cell]
        made = zip(stale, cell_lines(stale), strict=True)
        self._lines = {cell.cell_id: known[cell.cell_id] for cell in cells if cell.cell_id in known}
        self._lines |= {cell.cell_id: (cell, line) for cell, line in made}
        return [self._lines[cell.cell_id][1] for cell in cells]

    def close(self) -> None:
        """Stop following the session; remove a journal without unsaved changes."""
        self._unsubscribe()
        if self._writer is not None and not self.is_modified:
            self._writer.remove(self.journal_file)

    def _on_change(self, change: Change) -> None:
        if change.kind is ChangeKind.VIEW:
            return
        self._edits.note(change.kind)
        if not self.is_modified:
            self._edits.restart()
        if self._writer is None:
            return
        if self._start is not None:
            begin = partial(start_record, self._start, saved=self._start_is_saved, user=self.session.user)
            self._writer.append(self.journal_file, lambda: pack(begin()))
            self._start = None
        record = partial(change_record, change, time.time())
        self._writer.append(self.journal_file, lambda: pack(record()))

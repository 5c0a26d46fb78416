"""`EditRight`: whether one window may edit a folder, and who took it over."""

from __future__ import annotations

import weakref
from collections.abc import Set as AbstractSet

from napari_cellseg.workspace.holds import Editor
from napari_cellseg.workspace.lock import LockOwner
from napari_cellseg.workspace.lock_watch import LockWatch
from napari_cellseg.workspace.project import Project

__all__ = ["EditRight", "taken_by"]

_SILENT_S = 10.0
"""Time after which a folder that does not answer is reported."""


def taken_by(project: Project) -> str:
    """Return why the folder of a project cannot be edited, with the name of its holder; empty if it can."""
    if project.lease is None:
        return "The folder was opened for reading only."
    if project.lease.owner is not None:
        return f"Open in another viewer: {project.lease.owner}."
    other = project.lease.hold.editor
    return "" if other is None else f"Open in another window of this program: {other.window}."


class EditRight:
    """The right of one window to edit a folder; for the window's thread only.

    Of all processes, the holder of the lock has it; of the windows of one process, the one that opened the folder
    first, or took it over.

    Parameters
    ----------
    project : Project
    editor : Editor
        The window; held weakly.
    take_over : bool
        Take the right from another window of this process, which saves before.

    Attributes
    ----------
    lost : str
        Why the window cannot edit; empty if it can.

    Raises
    ------
    ExportError
        The other window cannot save.
    """

    def __init__(self, project: Project, editor: Editor, *, take_over: bool) -> None:
        lease = project.lease
        self._hold = None if lease is None else lease.hold
        self._editor = weakref.ref(editor)
        self._watch: LockWatch | None = None
        if lease is not None and take_over and lease.owner is None and lease.hold.editor is not None:
            lease.hold.editor.hand_over()
        self.lost = taken_by(project)
        if lease is not None and not self.lost:
            lease.hold.editor = editor
            self._watch = LockWatch(lease.hold.lock)
            # Also if no one gives it up. A window that is collected is no editor any more.
            weakref.finalize(editor, self._watch.close)

    def taken_over_by(self) -> LockOwner | None:
        """Return the viewer that took the lock, as of the last look, and look again in a thread.

        An unplugged drive does not tell who holds the folder; no one has taken it then.
        """
        return None if self._watch is None else self._watch.look()

    @property
    def problem(self) -> str:
        """That the folder does not answer; empty if it does."""
        silent_s = 0.0 if self._watch is None else self._watch.silent_s
        return f"The folder has not answered for {silent_s:.0f} s." if silent_s > _SILENT_S else ""

    def claim(self, image_ids: AbstractSet[str]) -> None:
        """Announce the images of the window, which no worker may write."""
        if self._has_it() and self._hold is not None:
            self._hold.claims.set_window(frozenset(image_ids))

    def give_up(self, reason: str) -> None:
        """Refuse edits from now on; another window may edit."""
        self.lost = reason
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._has_it() and self._hold is not None:
            self._hold.claims.set_window(frozenset())
            self._hold.editor = None

    def _has_it(self) -> bool:
        return self._hold is not None and self._hold.editor is not None and self._hold.editor is self._editor()

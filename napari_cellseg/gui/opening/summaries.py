"""`Summaries`: how many cells the images of the open folder have, and how many of them are reviewed."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QObject, Signal

from napari_cellseg.gui.state import AppState
from napari_cellseg.workspace import ImageSummary

__all__ = ["Summaries"]


class Summaries(QObject):
    """The summary of each image of the folder.

    Attributes
    ----------
    of : dict of str to ImageSummary or None
        By image_id; None for an image without annotations. That of the current image is as old as the last `note`.
    problems : dict of str to str
        By image_id, why an image could not be opened when that was last tried.
    """

    changed = Signal()
    """Those of another folder, or of another list of images."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._state = state
        self.of: dict[str, ImageSummary | None] = {}
        self.problems: dict[str, str] = {}

    def replace(self, summaries: Mapping[str, ImageSummary | None]) -> None:
        """Use the summaries of another list of images; ``changed`` is for the caller to send, once all is replaced."""
        self.of = dict(summaries)
        self.problems = {}

    def note(self, image_id: str) -> None:
        """Update the summary of an image."""
        workspace = self._state.workspace
        if workspace is not None:
            self.of[image_id] = workspace.summary(image_id)
            self._state.status_changed.emit(image_id)

    def note_problem(self, image_id: str, text: str) -> None:
        """Mark an image that cannot be opened; an empty text takes the mark away."""
        if text != self.problems.get(image_id, ""):
            self.problems[image_id] = text
            self._state.status_changed.emit(image_id)

    def note_current(self) -> None:
        """Update the summary of the current image."""
        if self._state.image_id is not None:
            self.note(self._state.image_id)

    @property
    def reviewed_images(self) -> int:
        """Number of images of the folder that have cells, all of them reviewed."""
        workspace, current = self._state.workspace, self._state.image_id
        now = dict(self.of)
        if workspace is not None and current is not None:
            now[current] = workspace.summary(current)
        progress = [summary.progress for summary in now.values() if summary is not None]
        return sum(0 < of.total == of.reviewed for of in progress)

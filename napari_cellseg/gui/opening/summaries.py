"""`Summaries`: how many cells the images of the open folder have, and how many of them are reviewed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from qtpy.QtCore import QObject, Signal

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.state import AppState
from napari_cellseg.images.listing import ImageFile
from napari_cellseg.workspace import ImageSummary
from napari_cellseg.workspace.labels import summary_of_labels

__all__ = ["Summaries"]

Counted = tuple[str, ImageSummary]


class Summaries(QObject):
    """The summary of each image of the folder.

    Attributes
    ----------
    of : dict of str to ImageSummary or None
        By image_id; None for an image without annotations. That of the current image is as old as the last `note`.
        The labels on disk of an image that was never saved are counted by a job, after the folder is open.
    quality : dict of str to float
        By image_id, the panoptic quality of the last prediction against the labels of the image.
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
        self.quality: dict[str, float] = {}
        self._given: dict[str, ImageSummary] = {}
        self.job = Job(state, "counting the labels on disk")
        self.job.reported.connect(self._on_counted)

    def replace(self, summaries: Mapping[str, ImageSummary | None], images: Iterable[ImageFile] = ()) -> None:
        """Use the summaries of another list of images; ``changed`` is for the caller to send, once all is replaced."""
        self.of = dict(summaries)
        self.problems = {}
        self.quality = {}
        self._given = {}
        unsaved = [file for file in images if summaries.get(file.image_id) is None]
        if unsaved:
            self.job.start(lambda: _count_labels(unsaved))
        else:
            self.job.stop()

    def note(self, image_id: str) -> None:
        """Update the summary of an image."""
        workspace = self._state.workspace
        if workspace is not None:
            self.of[image_id] = workspace.summary(image_id) or self._given.get(image_id)
            self._state.status_changed.emit(image_id)

    def note_quality(self, image_id: str, pq: float) -> None:
        """Note how well a prediction agrees with the labels of an image, 0..1."""
        self.quality[image_id] = pq
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

    def _on_counted(self, counted: tuple[Counted, ...]) -> None:
        for image_id, summary in counted:
            self._given[image_id] = summary
            if self.of.get(image_id) is None:
                self.of[image_id] = summary
                self._state.status_changed.emit(image_id)


def _count_labels(files: Iterable[ImageFile]) -> Generator[tuple[Counted, ...] | None, None, None]:
    """Yield the counts of all images so far: of several events between two updates of the window the last counts."""
    counted: list[Counted] = []
    yield None
    for file in files:
        try:
            summary = summary_of_labels(file)
        except CellSegError:  # reported when the image is opened
            summary = None
        if summary is not None:
            counted.append((file.image_id, summary))
        yield tuple(counted)

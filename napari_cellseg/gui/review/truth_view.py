"""`TruthView`: the answer of a model next to the labels of the image, with matched, false and missed cells."""

from __future__ import annotations

import math

from qtpy.QtCore import QObject, QTimer, Signal

from napari_cellseg.gui.canvas.layers import ClassLayers
from napari_cellseg.gui.canvas.side_picture import SidePicture
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.opening.summaries import Summaries
from napari_cellseg.gui.review.truth_picture import TruthPicture, against_labels
from napari_cellseg.gui.state import AppState
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Status
from napari_cellseg.review.region import inside

__all__ = ["TruthView"]

_UPDATE_MS = 300
LABELS = (Status.GIVEN, Status.ACCEPTED, Status.EDITED)
"""The cells that a model is compared with."""


class TruthView(QObject):
    """One image layer next to the image; it leaves with the image.

    A model's cells that overlap a label do not become proposals, so they are kept here as predicted.
    """

    changed = Signal()
    """The view is shown, hidden or up to date, or can be shown now."""

    def __init__(self, state: AppState, layers: ClassLayers, summaries: Summaries) -> None:
        super().__init__()
        self._state, self._summaries = state, summaries
        self._answer: InstanceMasks | None = None
        self._side = SidePicture(state)
        self._is_wanted = False
        self.picture: TruthPicture | None = None
        self.job = Job(state, "comparing with the labels")
        self.job.finished.connect(self._on_compared)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_UPDATE_MS)
        self._soon.timeout.connect(self._compare)
        state.answered.connect(self._on_answer)
        state.current_changed.connect(self._forget)
        state.min_scores_changed.connect(self._update)
        layers.session_changed.connect(self._update)
        state.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def is_shown(self) -> bool:
        """Whether the view is on the canvas."""
        return self._side.is_shown

    @property
    def why_not(self) -> str | None:
        """Why there is nothing to compare; None if there is."""
        session = self._state.session
        if session is None:
            return "Open an image first."
        if not session.count(statuses=LABELS):
            return "The image has no labels: no cell is given, accepted or edited."
        if self._answer is None:
            return "Segment the image first: the cells of the model are compared with the labels."
        return None

    def toggle(self) -> None:
        """Show or hide the view."""
        if self._is_wanted:
            self._hide()
        elif self.why_not is None:
            self._is_wanted = True
            self._compare()

    def close(self) -> None:
        """Stop comparing."""
        self._soon.stop()
        self.job.stop()

    # ---- how ----

    def _on_answer(self, image_id: str, cells: InstanceMasks) -> None:
        if image_id != self._state.image_id:
            return
        self._answer = cells
        self._is_wanted |= self._state.wants_comparison and self.why_not is None
        self._state.wants_comparison = False
        self._compare()
        self.changed.emit()

    def _update(self, *_: object) -> None:
        if self._answer is not None:
            self._soon.start()

    def _compare(self) -> None:
        session, image, answer = self._state.session, self._state.image, self._answer
        if session is None or image is None or answer is None or self.why_not is not None:
            return
        limits = self._state.min_scores
        shown = [
            s >= limits.get(c, 0.0) for s, c in zip(answer.scores.tolist(), answer.class_ids.tolist(), strict=True)
        ]
        found, labels = answer.select(shown), session.instances(LABELS)
        region = session.about.region
        found, labels = found.select(inside(found, region)), labels.select(inside(labels, region))
        self.job.start(lambda: against_labels(image.rgb(), labels, found))

    def _on_compared(self, picture: TruthPicture) -> None:
        self.picture = picture
        image_id = self._state.image_id
        if image_id is not None and math.isfinite(picture.pq):
            self._summaries.note_quality(image_id, picture.pq)
        if self._is_wanted:
            self._show(picture)
        self.changed.emit()

    def _show(self, picture: TruthPicture) -> None:
        self._side.show(picture.rgb, f"model against labels: {picture.text}", picture.rgb.shape[1])

    def _hide(self) -> None:
        self._is_wanted = False
        self._side.hide()
        self.changed.emit()

    def _forget(self) -> None:
        """Leave with the image; the camera is that of the next one."""
        self.close()
        self._answer = self.picture = None
        self._side.forget_view()
        self._hide()

    def _on_removed(self, _: object) -> None:
        if self._side.forget_if_removed():
            self._is_wanted = False

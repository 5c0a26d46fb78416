"""`WorkBar`: image, Segment, progress, undo, hide and the save status in one thin line, whichever dock is in front."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QSizePolicy, QToolBar, QWidget

from napari_cellseg.events import ModelReady, TileDone
from napari_cellseg.gui.canvas.tools import Tool
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.opening.save_watch import SaveWatch, show_status
from napari_cellseg.gui.review.action_table import action, perform
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.review.rows import button
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import explain
from napari_cellseg.gui.widgets.elided import ElidedLabel
from napari_cellseg.gui.widgets.tab_order import move_focus
from napari_cellseg.wording import counted

__all__ = ["WorkBar", "WorkLine"]

_UPDATE_MS = 80
"""As *Review*: the canvas responds to a key first."""
_BAR_PX, _ARROW_PX = 90, 28
_SAVED_PX, _IMAGE_PX = 60, 120
"""The save status, and the name of an image without a folder, are cut to no less before a word is dropped elsewhere."""


class WorkBar:
    """Puts a `WorkLine` above the canvas of a viewer; does nothing for a viewer without a window."""

    def __init__(self, state: AppState, review: ReviewActions, saving: SaveWatch, job: Job) -> None:
        self._bar: QToolBar | None = None
        self.line: WorkLine | None = None
        window = state.window
        if window is None:
            return
        self.line = WorkLine(state, review, saving, job)
        self._bar = QToolBar("Work bar")
        self._bar.setObjectName("napari-cellseg work bar")  # Qt saves and restores the window by this name
        self._bar.setMovable(False)
        self._bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)  # that menu would hide the bar for good
        self._bar.setStyleSheet("QToolBar { border: 0px; padding: 0px; spacing: 0px; }")
        self._bar.addWidget(self.line)
        window.addToolBar(Qt.ToolBarArea.TopToolBarArea, self._bar)

    def close(self) -> None:
        """Remove the bar from the window."""
        bar, self._bar = self._bar, None
        if bar is None or self.line is None:
            return
        self.line.stop()
        window: Any = bar.parent()
        if window is not None:
            window.removeToolBar(bar)
        bar.deleteLater()


class WorkLine(QWidget):
    """What the bar holds; in a narrow window it drops its words first, then the bar of progress.

    Parameters
    ----------
    state : AppState
    review : ReviewActions
    saving : SaveWatch
    job : Job
        The segmentation of the image on the canvas.
    """

    def __init__(self, state: AppState, review: ReviewActions, saving: SaveWatch, job: Job) -> None:
        super().__init__()
        self._state, self._do, self._saving, self._job = state, review, saving, job
        self._tile = ""
        self.image, self.counts, self.saved, self.running = (ElidedLabel() for _ in range(4))
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setAccessibleName("Reviewed cells")
        self.progress.setFixedSize(_BAR_PX, 8)
        self.buttons = {name: self._button(name) for name in _BUTTONS}
        self.next_image = button("Next image: Enter", lambda: perform(action("next_from_end"), review))
        self.stop_button = button("Stop", lambda: None)
        self.stop_button.clicked.connect(job.stop)
        self._lay_out()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.refresh)
        for signal in (
            review.changed, state.current_changed, state.selection_changed, state.loading_changed,
            state.workspace_changed, state.images_changed, state.model_changed, job.changed,
        ):  # fmt: skip
            signal.connect(self._refresh_later)
        job.reported.connect(self._on_event)
        saving.changed.connect(self._show_saved)
        self._show_saved()
        self.refresh()

    def _button(self, name: str) -> QPushButton:
        """Make the button of an action; one that is held works while it is down."""
        row, do = action(name), self._do
        made = button(row.label, lambda: None)
        made.setAccessibleName(row.spoken)
        if row.release is None:
            made.clicked.connect(lambda: perform(row, do))
        else:
            made.pressed.connect(partial(perform, row, do))
            made.released.connect(partial(row.release, do))
        return made

    def _lay_out(self) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 2)
        layout.setSpacing(6)
        back, forward, segment, undo, hide = self.buttons.values()
        for arrow in (back, forward):
            arrow.setFixedWidth(_ARROW_PX)
        for part in (
            back, self.image, forward, segment, self.running, self.stop_button, self.counts, self.progress,
            self.next_image, undo, hide, self.saved,
        ):  # fmt: skip
            layout.addWidget(part)
            if isinstance(part, QPushButton) and part not in (back, forward):
                part.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        layout.addStretch(1)
        for figure in (self.counts, self.running):
            figure.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Preferred)  # never cut
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def stop(self) -> None:
        """Update no more."""
        self._later.stop()
        self._later.timeout.disconnect()

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, D102 - Qt's name
        return move_focus(self, forward=next)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(1, super().minimumSizeHint().height())  # the window may always be narrower

    def resizeEvent(self, event: Any) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._fit()

    # ---- up to date ----

    def refresh(self) -> None:
        """Show the state as it is now."""
        self._later.stop()
        state, session, do = self._state, self._state.session, self._do
        for name, made in self.buttons.items():
            row = action(name)
            explain(made, row.needs(do), row.tooltip(do))
        is_busy = self._job.is_busy
        self.buttons["segment"].setVisible(not is_busy)
        self.running.setVisible(is_busy)
        self.stop_button.setVisible(is_busy)
        explain(self.stop_button, _why_no_stop(self._job), "Stop segmenting; nothing is lost")
        self.image.setToolTip(state.loading or state.image_id or "Open a folder in Open.")
        self.counts.setVisible(session is not None or do.slide.is_open)
        reviewed, total = do.slide.progress
        if session is not None:
            total, reviewed = session.progress.total, session.progress.reviewed
        given = "" if session is None else counted(session.progress.given, "label")
        of_disk = "" if session is None or not session.progress.given else f"\n{given} of the class*.tif"
        self.counts.setToolTip(f"{reviewed:,} of {counted(total, 'cell')} of this image reviewed{of_disk}")
        self.progress.setMaximum(max(total, 1))
        self.progress.setValue(reviewed)
        at_end = (
            do.tools.tool is Tool.POINT and do.cutting.cell_id is None and action("next_from_end").needs(do) is None
        )
        self.next_image.setVisible(at_end)
        self.next_image.setToolTip("The queue is at its end. Open the next image (Enter)")
        self._fit()

    def _refresh_later(self) -> None:
        if not self._later.isActive():
            self._later.start(_UPDATE_MS)

    def _on_event(self, event: object) -> None:
        if isinstance(event, TileDone):
            self._tile = f"tile {event.tile}/{event.tiles}"
        elif isinstance(event, ModelReady):
            self._tile = "Segmenting"
        self._fit()

    def _show_saved(self) -> None:
        show_status(self.saved, self._saving.status)
        self._fit()

    # ---- what fits ----

    def _fit(self) -> None:
        """Show as many words as there is room for."""
        for words, bar in ((True, True), (False, True), (False, False)):
            self._write(words=words)
            self.progress.setVisible(bar and (self._state.session is not None or self._state.slide is not None))
            if self._least_width() <= self.width():
                break

    def _write(self, *, words: bool) -> None:
        state, session = self._state, self._state.session
        place = state.images.index(state.file) + 1 if state.file in state.images else None
        policy = QSizePolicy.Policy.Preferred if place is None else QSizePolicy.Policy.Minimum
        self.image.setSizePolicy(policy, QSizePolicy.Policy.Preferred)
        if place is not None:
            self.image.setText(f"{'image ' if words else ''}{place:,}/{len(state.images):,}")
        else:
            self.image.setText(state.image_id or "no image")
        if session is not None:
            shown = f"{session.progress.reviewed:,}/{session.progress.total:,}"
            self.counts.setText(f"reviewed {shown}" if words else shown)
        elif self._do.slide.is_open:
            self.counts.setText(self._do.slide.counts_text)
        self.next_image.setText("Next image: Enter" if words else "Next: Enter")
        if self._job.state is JobState.STARTING:
            self._tile = "Starting engine..."
        self.running.setText(JobState.STOPPING.value if self._job.state is JobState.STOPPING else self._tile)

    def _least_width(self) -> int:
        """Return the width below which more than the save status, or the name of a single image, is cut, px."""
        cut: int = max(self.saved.sizeHint().width() - _SAVED_PX, 0)
        if self._state.file not in self._state.images:
            cut += max(self.image.sizeHint().width() - _IMAGE_PX, 0)
        wanted: int = self.layout().sizeHint().width()
        return wanted - cut


_BUTTONS = ("previous_image", "next_image", "segment", "undo", "hide")


def _why_no_stop(job: Job) -> str | None:
    return "It is stopping already." if job.state is JobState.STOPPING else None

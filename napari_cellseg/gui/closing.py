"""`CloseGuard`: closing the window saves; what runs or cannot be saved is named first, and Cancel keeps the window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.batch.batch import Batch
from napari_cellseg.gui.opening.leaving import may_leave
from napari_cellseg.gui.segment.segmentation import Segmentation
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.train.run import TrainRun
from napari_cellseg.gui.widgets.questions import ask_to_close
from napari_cellseg.wording import counted

__all__ = ["CloseGuard", "what_stops"]


def what_stops(training: TrainRun, batch: Batch, segmentation: Segmentation) -> list[str]:
    """Return what runs and would stop, a sentence each."""
    found = []
    if training.job.is_busy:
        done = training.history.last_epoch
        at = f" at epoch {done.epoch} of {training.history.epochs}" if done is not None else ""
        found.append(f"Training{at} stops; it can be resumed.")
    for job, text in (
        (training.write_job, "Writing class*.tif stops; the images that are left keep their files."),
        (training.compare_job, "Comparing two models stops."),
        (training.use_job, "Copying the model into the library stops."),
        (batch.job, "Predicting the folder stops; the images that are left are predicted at the next start."),
        (batch.submit_job, "Writing the results stops."),
        (segmentation.job, "Segmenting stops."),
    ):
        if job.is_busy:
            found.append(text)
    return found


class CloseGuard(QObject):
    """Asks before the window of a viewer closes, when something is lost by it, and calls ``close`` when it has closed.

    napari has no signal for it, and asks only while one of its tasks is busy; "Do not ask in future" and Ctrl+W skip
    that question. A script that calls ``viewer.close()`` is not asked.

    Parameters
    ----------
    state : AppState
    running : callable
        Returns what runs, see `what_stops`.
    close : callable
    """

    def __init__(self, state: AppState, running: Callable[[], Sequence[str]], close: Callable[[], None]) -> None:
        super().__init__(state)
        self._state, self._running, self._close = state, running, close
        self._is_closing = self._is_agreed = self._is_asking = False
        if state.window is not None:
            state.window.installEventFilter(self)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(close)

    def eventFilter(self, watched: Any, event: QEvent) -> bool:  # noqa: D102 - Qt's name
        # The window may refuse to close, and only hides when it does not.
        if event.type() == QEvent.Type.Close:
            return self._on_close(watched, event)
        if event.type() == QEvent.Type.WindowActivate:
            self._is_closing = False
        elif event.type() == QEvent.Type.Hide and self._is_closing and not event.spontaneous():
            self._close()
        return False

    def _on_close(self, window: Any, event: QEvent) -> bool:
        """Ask, once; returns whether the window stays."""
        agreed, self._is_agreed = self._is_agreed, False
        if self._is_asking or not (agreed or self._is_by_script(window) or self._may_close()):
            event.ignore()
            return True
        self._is_closing = True
        if event.spontaneous() and self._running() and not agreed:
            # napari would ask the same again, without saying what ends; it does not when a program closes the window.
            self._is_agreed = True
            event.ignore()
            QTimer.singleShot(0, lambda: window.close(quit_app=window._quit_app))
            return True
        return False

    def _may_close(self) -> bool:
        self._is_asking = True
        try:
            edits = self._unsaved()
            if not may_leave(self._state):
                return False
            running = [*self._running()]
            saved = [edits] if edits and self._is_saved() else []
            return not running or ask_to_close(self._state.window, [*running, *saved])
        finally:
            self._is_asking = False

    def _unsaved(self) -> str:
        workspace, image_id = self._state.workspace, self._state.image_id
        edits = 0 if workspace is None or image_id is None else workspace.unsaved_edits(image_id)
        return f"{counted(edits, 'edit')} of {image_id} {'is' if edits == 1 else 'are'} saved." if edits else ""

    def _is_saved(self) -> bool:
        workspace = self._state.workspace
        return workspace is not None and not workspace.unsaved()

    @staticmethod
    def _is_by_script(window: Any) -> bool:
        """Return whether ``viewer.close()`` closes the window: it has hidden the canvas before."""
        viewer = getattr(window, "_qt_viewer", None)
        return viewer is not None and viewer.isHidden()

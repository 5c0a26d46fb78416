"""`CloseGuard`: closing the window saves; what runs or cannot be saved is named first, and Cancel keeps the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QLabel

from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.opening.leaving import has_to_ask, may_leave
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.questions import ask_to_close
from napari_cellseg.wording import counted

__all__ = ["CloseGuard", "what_stops"]


def what_stops(state: AppState) -> list[str]:
    """Return what runs in a viewer and stops when it closes, a sentence each; see `Job.on_close`."""
    return [job.on_close for job in state.findChildren(Job) if job.on_close]


class CloseGuard(QObject):
    """Asks before the window of a viewer closes, when something is lost by it, and calls ``close`` when it has closed.

    napari has no signal for it. Ctrl+W asks first, without saying what stops, unless the user chose "Do not ask in
    future"; then what stops is added to that question. The X of the window asks only while one of napari's tasks is
    busy; then this question comes in its place. A script that calls ``viewer.close()`` is not asked.

    Parameters
    ----------
    state : AppState
    close : callable
    """

    def __init__(self, state: AppState, close: Callable[[], None]) -> None:
        super().__init__(state)
        self._state, self._close = state, close
        self._is_closing = self._is_agreed = self._is_asking = self._is_told = self._has_answered = False
        if state.window is not None:
            state.window.installEventFilter(self)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(close)

    def eventFilter(self, watched: Any, event: QEvent) -> bool:  # noqa: D102 - Qt's name
        # The window may refuse to close, and only hides when it does not.
        if event.type() == QEvent.Type.Close:
            return self._on_close(watched, event)
        if event.type() == QEvent.Type.ChildPolished:
            self._tell_in(event.child())
        elif event.type() == QEvent.Type.WindowActivate:
            self._is_closing = False
        elif event.type() == QEvent.Type.Hide and self._is_closing and not event.spontaneous():
            self._close()
        return False

    def _on_close(self, window: Any, event: QEvent) -> bool:
        """Ask, once; returns whether the window stays."""
        agreed, self._is_agreed = self._is_agreed, False
        told, self._is_told, self._has_answered = self._is_told, False, False
        if self._is_asking or not (agreed or self._is_by_script(window) or self._may_close(is_told=told)):
            event.ignore()
            return True
        self._is_closing = True
        if event.spontaneous() and self._has_answered:
            # napari would ask a second time; it does not when a program closes the window.
            self._is_agreed = True
            event.ignore()
            QTimer.singleShot(0, lambda: window.close(quit_app=window._quit_app))
            return True
        if window.isHidden():  # never shown, so that no event says when it has closed
            self._close()
        return False

    def _may_close(self, *, is_told: bool) -> bool:
        self._is_asking = True
        try:
            edits = self._unsaved()
            asks = has_to_ask(self._state)
            if not may_leave(self._state):
                return False
            running = [] if is_told else what_stops(self._state)
            saved = [edits] if edits and self._is_saved() else []
            self._has_answered = asks or bool(running)
            return not running or ask_to_close(self._state.window, [*running, *saved])
        finally:
            self._is_asking = False

    def _tell_in(self, dialog: Any) -> None:
        """Add what stops to napari's own question, which is about to be shown."""
        stops = what_stops(self._state)
        if type(dialog).__name__ != "ConfirmCloseDialog" or not stops or self._is_closing:
            return
        text = QLabel("\n".join(stops))
        text.setWordWrap(True)
        dialog.layout().insertWidget(1, text)
        dialog.accepted.connect(self._on_told)

    def _on_told(self) -> None:
        self._is_told = True

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

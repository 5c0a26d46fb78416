"""`Autosave`: saves the annotations of the open image at the interval of the preferences."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer

from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.preferences import on_preferences_changed, preferences
from napari_cellseg.gui.state import AppState

__all__ = ["Autosave"]


class Autosave(QObject):
    """Saves at the interval of the preferences, if there are unsaved edits."""

    def __init__(self, state: AppState, opener: Opener) -> None:
        super().__init__(state)
        self._opener = opener
        self.timer = QTimer(self)
        self.timer.timeout.connect(self._save)
        on_preferences_changed(self.set_interval)
        self.set_interval()

    def set_interval(self) -> None:
        """Use the interval of the preferences."""
        minutes = preferences().autosave_min
        if minutes <= 0:
            self.timer.stop()
        elif not self.timer.isActive() or self.timer.interval() != minutes * 60_000:
            self.timer.start(minutes * 60_000)

    def close(self) -> None:
        """Save no more."""
        self.timer.stop()

    def _save(self) -> None:
        if not self._opener.save():
            self.timer.stop()  # shown once; a repetition every minute would only disturb

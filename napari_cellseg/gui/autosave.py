"""`Autosave`: saves the annotations of the open image now and then, when the preferences ask for it."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, QTimer

from napari_cellseg.gui.opening.opening import Opener
from napari_cellseg.gui.preferences import on_preferences_changed, preferences
from napari_cellseg.gui.state import AppState

__all__ = ["Autosave"]

_AUTOSAVES: WeakKeyDictionary[AppState, Autosave] = WeakKeyDictionary()


class Autosave(QObject):
    """One a viewer: ``Autosave.of(state)``. It does nothing to an image that has no unsaved edits."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._opener = Opener.of(state)
        self._failed = False
        self.timer = QTimer(self)
        self.timer.timeout.connect(self._save)
        on_preferences_changed(self.set_interval)
        state.closing.connect(self.timer.stop)
        self.set_interval()

    @classmethod
    def of(cls, state: AppState) -> Autosave:
        """Return the one of a viewer's state, made at the first call."""
        if state not in _AUTOSAVES:
            _AUTOSAVES[state] = cls(state)
        return _AUTOSAVES[state]

    def set_interval(self) -> None:
        """Take over the interval of the preferences."""
        minutes = preferences().autosave_min
        if minutes <= 0:
            self.timer.stop()
        elif not self.timer.isActive() or self.timer.interval() != minutes * 60_000:
            self.timer.start(minutes * 60_000)

    def _save(self) -> None:
        if not self._opener.save():
            self.timer.stop()  # it was told; again every minute would only be in the way

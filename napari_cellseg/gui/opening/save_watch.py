"""`SaveWatch`: looks once a second whether edits are saved and who edits the folder, and tells of changes."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import ERROR, WARNING
from napari_cellseg.gui.widgets.notify import show_warning
from napari_cellseg.workspace import SaveKind, SaveStatus

__all__ = ["SaveLabel", "SaveWatch", "show_status"]

_SAVED = "#009e73"
_COLOURS = {
    SaveKind.NOTHING: "",
    SaveKind.SAVED: _SAVED,
    SaveKind.UNSAVED: WARNING,
    SaveKind.READ_ONLY: ERROR,
    SaveKind.PROBLEM: ERROR,
}
_LOOK_MS = 1000


class SaveWatch(QObject):
    """The one status of saving that all docks show.

    Attributes
    ----------
    status : SaveStatus
        As it was at the last look.
    """

    changed = Signal()
    """`status` is another one."""
    refused = Signal()
    """Another viewer or window took the folder: edits are refused from now on."""

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._state = state
        self._was_ours = False
        self.status = SaveStatus(SaveKind.NOTHING, "")
        self._clock = QTimer(self)
        self._clock.setInterval(_LOOK_MS)
        self._clock.timeout.connect(self.look)
        self._clock.start()
        state.closed.connect(self.close)
        for signal in (state.workspace_changed, state.current_changed, state.status_changed):
            signal.connect(lambda *_: self._show())

    def look(self) -> None:
        """Look whether the folder is still this window's, and bring the status up to date."""
        workspace = self._state.workspace
        if workspace is not None and self._was_ours and not workspace.check_lock():
            self._was_ours = False
            show_warning(workspace.read_only)
            self.refused.emit()
        self._show()

    def close(self) -> None:
        """Look no more."""
        self._clock.stop()

    def _show(self) -> None:
        workspace, session = self._state.workspace, self._state.session
        if workspace is not None:
            status = workspace.status(self._state.image_id)
            self._was_ours = self._was_ours or not workspace.read_only
        else:
            self._was_ours = False
            is_edited = session is not None and bool(session.undo_text)
            text, tip = "not saved: the image has no folder", "Open the folder of the image to save what you edit."
            status = SaveStatus(SaveKind.UNSAVED, text, tip) if is_edited else SaveStatus(SaveKind.NOTHING, "")
        if status != self.status:
            self.status = status
            self.changed.emit()


class SaveLabel(QLabel):
    """Shows the status with a stripe in its colour; the tooltip gives the details."""

    def __init__(self, watch: SaveWatch) -> None:
        super().__init__()
        self._watch = watch
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        watch.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        show_status(self, self._watch.status)


def show_status(label: QLabel, status: SaveStatus, *, is_brief: bool = False) -> None:
    """Show a status of saving in a label, with its details as the tooltip; in few words where there is little room."""
    brief = status.brief if is_brief else ""
    label.setText(brief or status.text)
    label.setToolTip(f"{status.text}\n{status.tip}" if brief else status.tip)
    colour = _COLOURS[status.kind]
    # A stripe, and the text in the theme's colour: orange and green text is too pale to read on a light theme.
    label.setStyleSheet(f"border-left: 4px solid {colour}; padding-left: 5px;" if colour else "")

"""`Hints`: the next step of a first session in one line on the canvas, until the user closes the hints for good."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QWidget

from napari_cellseg.gui.canvas.camera import canvas_widget
from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.preferences import change_preference, on_preferences_changed, preferences
from napari_cellseg.gui.review.action_table import action
from napari_cellseg.gui.review.actions import ReviewActions
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.dock import ACCENT

__all__ = ["HintLine", "Hints"]

_UPDATE_MS = 120
_TOP_PX = 8
_AROUND_PX = 20
"""The margins at both sides of the line, and the space before its button."""
_FIRST_DECISIONS = 3
"""After so many decisions about an image, the user knows the keys."""


class Hints:
    """Shows a `HintLine` on the canvas of a viewer; does nothing for a viewer without a window.

    Parameters
    ----------
    state : AppState
    review : ReviewActions
    job : Job
        The segmentation of the image on the canvas.
    """

    def __init__(self, state: AppState, review: ReviewActions, job: Job) -> None:
        self._state, self._job = state, job
        self._knows_keys = False
        self.line: HintLine | None = None
        canvas = canvas_widget(state.viewer)
        if canvas is None:
            return
        self.line = HintLine(canvas)
        self.line.close_button.clicked.connect(lambda: self._close_for_good())
        self._later = QTimer(self.line)
        self._later.setSingleShot(True)
        self._later.setInterval(_UPDATE_MS)
        self._later.timeout.connect(lambda: self._show())
        for signal in (
            state.current_changed,
            state.loading_changed,
            state.workspace_changed,
            review.changed,
            job.changed,
        ):
            signal.connect(self._later.start)
        on_preferences_changed(self._show)
        self._later.start()

    def close(self) -> None:
        """Take the line away."""
        line, self.line = self.line, None
        if line is not None:
            self._later.stop()
            line.discard()

    def _close_for_good(self) -> None:
        change_preference("hints", False)
        self._show()

    def _show(self) -> None:
        session = self._state.session
        self._knows_keys |= session is not None and session.progress.reviewed >= _FIRST_DECISIONS
        if self.line is not None:
            text = hint_of(self._state, is_busy=self._job.is_busy, knows_keys=self._knows_keys)
            self.line.show_text(text if preferences().hints else "")


def hint_of(state: AppState, *, is_busy: bool, knows_keys: bool = False) -> str:
    """Return the next step; empty where none is needed, as for the keys of decisions once the user knows them."""
    if state.loading or is_busy or state.slide is not None:
        return ""
    session = state.session
    if session is None:
        return "Open a folder, drag it in, or try the sample."
    if not session.cells:
        return f"Press {_key('segment')} to segment the cells."
    progress = session.progress
    if not knows_keys and progress.reviewed + progress.given < progress.total:
        return f"{_key('accept')} accepts, {_key('reject')} rejects, 1..9 set the class."
    return ""


def _key(name: str) -> str:
    return action(name).keys[0]


class HintLine(QFrame):
    """One line at the top of the canvas, with a button that closes the hints."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.close_button = QToolButton()
        self.close_button.setText("×")
        self.close_button.setAutoRaise(True)
        self.close_button.setAccessibleName("Close the hints")
        self.close_button.setToolTip("Show no more hints; Preferences > napari-cellseg brings them back")
        self.close_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys of the canvas stay where they are
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 3, 4, 3)
        row.setSpacing(_AROUND_PX - 14)
        row.addWidget(self.label)
        row.addWidget(self.close_button)
        self.setStyleSheet(
            f"HintLine {{ background-color: {ACCENT}; border-radius: 4px; }}"
            "QLabel { color: white; font-weight: 600; background: transparent; }"
            "QToolButton { color: white; font-weight: 600; background: transparent; border: none; padding: 0px 4px; }"
        )
        canvas.installEventFilter(self)
        self.hide()

    def show_text(self, text: str) -> None:
        """Show a hint; an empty text hides the line."""
        self.label.setText(text)
        self.setVisible(bool(text))
        self._place()

    def discard(self) -> None:
        """Take it away for good."""
        self.hide()
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: ARG002, D102
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        canvas = self.parentWidget()
        if canvas is None:
            return
        text, label = self.label.text(), self.label
        room = canvas.width() - 2 * _TOP_PX - self.close_button.sizeHint().width() - _AROUND_PX
        width = max(min(label.fontMetrics().boundingRect(text).width() + 4, room), 1)  # two lines in a narrow window
        label.setMinimumSize(0, 0)  # QLabel gives no height for less than its minimum width
        label.setFixedSize(width, max(label.heightForWidth(width), 1))
        self.adjustSize()
        self.move(max((canvas.width() - self.width()) // 2, 0), _TOP_PX)
        self.raise_()  # above napari's own welcome

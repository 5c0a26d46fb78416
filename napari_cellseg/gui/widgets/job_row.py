"""`JobRow`: the progress of a job, its Stop button, and its outcome."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_cellseg.errors import CellSegError
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.widgets.activity import activity_of
from napari_cellseg.gui.widgets.dock import ERROR, explain, small_label
from napari_cellseg.gui.widgets.notify import DetailsDialog, show_error

__all__ = ["JobRow", "clock"]


def clock(seconds: float) -> str:
    """Write a time as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class JobRow(QWidget):
    """Progress and Stop while a job is busy, its outcome in words afterwards.

    Parameters
    ----------
    job : Job
    starting : str
        What it does before its first event, for example "Starting engine...".
    notify : bool
        Whether to show a failure as a notification too.
    pausable : bool
        Whether there is a button to pause and resume.
    """

    def __init__(self, job: Job, starting: str = "Starting...", *, notify: bool = True, pausable: bool = False) -> None:
        super().__init__()
        self._job = job
        self._starting = starting
        self._notify = notify
        self._pausable = pausable
        self._text = ""
        self._activity = activity_of(job)
        self._total = 0
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress")
        self.bar.setMinimumWidth(24)  # in a narrow dock the words and buttons matter more
        self.bar.setTextVisible(False)  # a bar without a known end would not show it
        self.label = QLabel()
        self.pause_button = QPushButton("Pause")
        self.pause_button.clicked.connect(self._pause_or_resume)
        self.stop_button = QPushButton("Stop")
        self.stop_button.clicked.connect(job.stop)
        self.message = small_label()
        self._details = QPushButton("Details")
        self._details.clicked.connect(self._open_details)
        top = QHBoxLayout()
        top.addWidget(self.bar, 1)
        if not pausable:  # two buttons leave no room for it
            top.addWidget(self.label)
        top.addWidget(self.pause_button)
        top.addWidget(self.stop_button)
        bottom = QHBoxLayout()
        bottom.addWidget(self.message, 1)
        bottom.addWidget(self._details, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        if pausable:
            # Rather cut off than a dock that becomes wider, or jumps as lines wrap.
            self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            layout.addWidget(self.label)
        layout.addLayout(bottom)
        self._second = QTimer(self)
        self._second.setInterval(500)
        self._second.timeout.connect(self._show_text)
        job.changed.connect(self._on_changed)
        job.failed.connect(self._on_failed)
        self._on_changed()
        self.set_message("")

    def set_progress(self, done: int, total: int, text: str) -> None:
        """Show ``done`` of ``total``; a ``total`` of 0 is unknown. The text gets the time that passed."""
        self._text = text
        # Never 0..0, Qt's moving bar: where OpenGL is drawn in software, each of its frames draws the whole window, and
        # that takes a core from the work that is waited for.
        self.bar.setRange(0, total or 1)
        self.bar.setValue(done)
        self._total = total
        self._show_text()
        self._activity.show(done, total)

    def set_message(self, text: str, colour: str = "") -> None:
        """Show the outcome; an empty text takes no space."""
        self.message.setText(text)
        self.message.setStyleSheet(f"color: {colour};" if colour else "")
        self.message.setVisible(bool(text))
        self._details.hide()

    def _on_changed(self) -> None:
        state = self._job.state
        for widget in (self.bar, self.label, self.stop_button):
            widget.setVisible(state.is_busy)
        self.pause_button.setVisible(state.is_busy and self._pausable)
        self.pause_button.setText("Resume" if state.can_resume else "Pause")
        tip = "Resume" if state.can_resume else "Pause at the next step. The memory stays in use, the CPU is free."
        stopping = "It is stopping already." if state is JobState.STOPPING else None
        explain(self.pause_button, stopping, tip)
        explain(self.stop_button, stopping, "Stop; nothing is lost")
        if state is JobState.STARTING:
            self.set_message("")
            self.set_progress(0, 0, self._starting)
            self._second.start()
        elif state is JobState.STOPPING:
            self.set_progress(self.bar.value(), self._total, state.value)
        elif state.is_busy:
            self._show_text()
        else:
            self._second.stop()
            self._activity.show(0, 0)
            if state is JobState.STOPPED:
                self.set_message(f"Stopped after {clock(self._job.elapsed_s)}.")

    def _on_failed(self, error: CellSegError) -> None:
        if not self._job.is_busy:  # else the job answered the failure with another run, as at the next image
            self.set_message(f"Failed: {error}", ERROR)
            self._details.setVisible(bool(error.details))
        if self._notify:
            show_error(error, self.window())

    def _open_details(self) -> None:
        if self._job.error is not None:
            DetailsDialog(str(self._job.error), self._job.error.details, self.window()).show()

    def _pause_or_resume(self) -> None:
        if not self._job.resume():
            self._job.pause()

    def _show_text(self) -> None:
        state = self._job.state
        text = f"{state.value}  {self._text}" if state.can_resume else self._text
        self.label.setText(f"{text}  {clock(self._job.elapsed_s)}")

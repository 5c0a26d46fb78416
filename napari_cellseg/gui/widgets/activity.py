"""`Activity`: the line of a job in napari's activity dock."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_cellseg.gui.jobs import Job

__all__ = ["Activity", "activity_of"]


class Activity(QObject):
    """Shows the progress of a job in napari's activity dock, always in a turn of the event loop of its own.

    napari runs Qt's events whenever it makes or moves such a line. Where that happens in a slot of the job, the signal
    may reach the same slot a second time, and a dock that is closed meanwhile then leaves PyQt with a connection that
    is deleted while it is in use: the window hangs or crashes.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._job = job
        self._line: Any = None
        self._wanted: tuple[int, int] | None = None
        self._is_at_work = False
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._work)

    def show(self, done: int, total: int) -> None:
        """Show ``done`` of ``total`` soon; a ``total`` of 0 takes the line away."""
        self._wanted = (done, total)
        if not self._is_at_work:
            self._turn.start(0)

    def _work(self) -> None:
        self._is_at_work = True  # the timer must not call this method again while napari runs Qt's events
        try:
            while self._wanted is not None:
                (done, total), self._wanted = self._wanted, None
                self._bring(done, total)
        finally:
            self._is_at_work = False

    def _bring(self, done: int, total: int) -> None:
        if self._line is not None and self._line.total != total:
            line, self._line = self._line, None
            line.close()
        if not total or self._job.window is None or not self._job.is_busy:
            return
        if self._line is None:
            from napari.utils import progress

            self._line = progress(total=total, desc=self._job.title)
        self._line.update(done - self._line.n)


def activity_of(job: Job) -> Activity:
    """Return the line of a job, which all docks that show the job share."""
    return job.findChild(Activity) or Activity(job)

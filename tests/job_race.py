"""Closes viewers whose jobs still run, replaced ones too; a thread that then touches a Qt object ends the process.

``python job_race.py N`` prints "survived" after N viewers.
"""

from __future__ import annotations

import faulthandler
import sys
import time

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Signal

from napari_cellseg.gui.jobs import Job


class State(QObject):
    """As much of `AppState` as a job needs."""

    closing = Signal()
    viewer = None


def run_for(seconds):
    time.sleep(seconds)
    yield None


def process_events(application, seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        application.processEvents()


def open_and_close(application):
    state = State()
    job = Job(state, "racing")
    job.start(lambda: run_for(0.02))
    process_events(application, 0.002)
    job.start(lambda: run_for(0.0001))  # the run before it is still sleeping
    process_events(application, 0.005)
    state.closing.emit()
    state.deleteLater()
    del job, state
    QCoreApplication.sendPostedEvents(None, QEvent.DeferredDelete)
    process_events(application, 0.03)  # the first run wakes up in here


if __name__ == "__main__":
    faulthandler.enable()
    application = QCoreApplication([])
    for _ in range(int(sys.argv[1])):
        open_and_close(application)
    sys.stdout.write("survived\n")

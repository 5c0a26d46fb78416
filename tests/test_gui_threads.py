"""No thread reaches the window: what happens when viewers go while threads run, and the guard that looks for it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEventLoop, QObject, QTimer
from thread_guard import ThreadGuard, reached

from napari_cellseg.gui.job_clock import JobClock
from napari_cellseg.gui.job_thread import JobThread
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.state import AppState


@pytest.fixture
def state(qapp):  # noqa: ARG001 - signals need an application
    state = AppState(ViewerModel())
    yield state
    state.close()


def wait_then(event, value=None):
    """Ends when the event is set, and never obeys a stop before that."""
    event.wait(30)
    yield value
    return value


def job_threads():
    return [thread for thread in threading.enumerate() if thread.name == "job"]


def test_viewers_that_close_while_replaced_runs_end_do_not_crash():
    script = Path(__file__).with_name("job_race.py")
    done = subprocess.run([sys.executable, script, "40"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr


def test_the_thread_of_a_replaced_run_is_joined_and_then_no_timer_runs(qtbot, state):
    release, job = threading.Event(), Job(state, "testing")
    job.start(partial(wait_then, release, "old"))
    job.start(partial(wait_then, release, "new"))
    assert len(job_threads()) == 2
    release.set()

    timer = JobClock.of(state)._timer
    qtbot.waitUntil(lambda: not timer.isActive(), timeout=30_000)
    assert job.state is JobState.FINISHED
    assert job_threads() == []


def test_closing_joins_replaced_runs_too(state):
    release, job = threading.Event(), Job(state, "testing")
    job.start(partial(wait_then, release))
    job.start(partial(wait_then, release))
    threading.Timer(0.2, release.set).start()
    state.close()
    assert job_threads() == []
    assert not job.is_busy


def test_closing_waits_for_all_jobs_together_and_no_longer_than_its_limit(qtbot, state):
    release = threading.Event()
    jobs = [Job(state, f"job {i}") for i in range(3)]
    for job in jobs:
        job.start(partial(wait_then, release))
    begin = time.monotonic()
    JobClock.of(state).join(tuple(JobClock.of(state)._looks), 0.3)
    assert time.monotonic() - begin < 0.85  # three times 0.3 s would be 0.9
    assert len(job_threads()) == 3
    release.set()
    qtbot.waitUntil(lambda: job_threads() == [], timeout=30_000)


def test_no_job_starts_in_a_viewer_that_is_closing(state):
    first, second, release = Job(state, "first"), Job(state, "second"), threading.Event()
    first.changed.connect(lambda: first.is_busy or second.start(partial(wait_then, release)))
    first.start(partial(wait_then, release))
    release.set()
    state.close()
    assert not first.is_busy
    assert second.state is JobState.IDLE
    assert job_threads() == []


def test_a_state_that_goes_without_being_closed_stops_its_threads(qtbot):
    state = AppState(ViewerModel())
    closed = threading.Event()
    Job(state, "testing").start(partial(until_closed, closed))
    qtbot.waitUntil(lambda: len(job_threads()) == 1)
    state.deleteLater()
    del state
    qtbot.waitUntil(closed.is_set, timeout=30_000)
    qtbot.waitUntil(lambda: job_threads() == [], timeout=30_000)


def until_closed(closed):
    try:
        while True:
            time.sleep(0.01)
            yield None
    finally:
        closed.set()


def test_a_dialog_opened_by_one_job_does_not_hold_up_another(qtbot, state):
    dialog, release = QEventLoop(), threading.Event()
    first, second = Job(state, "first"), Job(state, "second")
    seen = []
    second.reported.connect(seen.append)
    second.finished.connect(lambda _: dialog.quit())
    first.finished.connect(lambda _: (release.set(), QTimer.singleShot(20_000, dialog.quit), dialog.exec_()))
    second.start(partial(wait_then, release, "told while the dialog is open"))
    first.start(lambda: iter_nothing())
    qtbot.waitUntil(lambda: not first.is_busy and not second.is_busy, timeout=60_000)
    assert seen == ["told while the dialog is open"]
    assert second.elapsed_s < 15


def iter_nothing():
    yield None


def test_what_a_thread_reports_is_in_the_window_within_a_few_frames(qtbot, state):
    job, delays = Job(state, "testing"), []

    def work():
        for _ in range(20):
            time.sleep(0.03)
            yield time.monotonic()

    job.reported.connect(lambda sent: delays.append(time.monotonic() - sent))
    job.start(work)
    qtbot.waitUntil(lambda: not job.is_busy, timeout=60_000)
    assert len(delays) == 20
    assert sorted(delays)[10] < 0.1  # the median; 0.015 s on an idle machine


# ---- the guard itself ----


class Holder:
    def __init__(self, held):
        self.held = held

    def work(self):
        yield self.held


@pytest.mark.parametrize(
    "make",
    [
        lambda held: lambda: held,
        lambda held: Holder(held).work,
        lambda held: partial(iter, [{"deep": (held,)}]),
        lambda held: Holder(Holder(held)).work,
        lambda held: Holder(held).work(),
        lambda held: held.deleteLater,
    ],
    ids=["closure", "method", "arguments", "attributes", "generator", "a method of Qt"],
)
def test_the_guard_finds_a_qt_object(make):
    assert reached(make(QObject())) is not None
    if make(held := QObject()) != held.deleteLater:
        assert reached(make("a plain value")) is None


def test_the_guard_finds_a_viewer_and_its_layers():
    viewer = ViewerModel()
    assert "ViewerModel" in reached(lambda: viewer)
    layer = viewer.add_labels(np.eye(2, dtype=np.int32))
    assert "Labels" in reached(partial(iter, [layer]))


def test_the_guard_looks_at_the_threads_of_jobs():
    guard, held = ThreadGuard(), QObject()
    guard.check(JobThread(lambda: iter([held.objectName()]))._thread)
    guard.check(JobThread(lambda: iter_nothing())._thread)
    assert len(guard.problems) == 1
    assert f"held is a {QObject.__module__}.QObject" in guard.problems[0]

from __future__ import annotations

import threading
import time

import pytest
from engine_tasks import HOST, TASKS
from napari.components import ViewerModel

from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.errors import EngineError, ImageReadError
from napari_cellseg.events import ImageFailed, TileDone
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.plugin import plugin_of


class Recorder:
    """The signals of a job, in order, with the thread in which they arrive."""

    def __init__(self, job):
        self.states, self.events, self.results, self.errors, self.threads = [], [], [], [], set()
        job.changed.connect(lambda: self.states.append(job.state))
        job.reported.connect(self.events.append)
        job.finished.connect(self.results.append)
        job.failed.connect(self.errors.append)
        job.reported.connect(lambda _: self.threads.add(threading.current_thread()))


@pytest.fixture
def state(qapp):  # noqa: ARG001 - signals need an application
    viewer = ViewerModel()
    plugin = plugin_of(viewer)
    yield plugin.state
    plugin.close()


@pytest.fixture
def job(state):
    return Job(state, "testing")


def wait_for_end(qtbot, job):
    qtbot.waitUntil(lambda: not job.is_busy, timeout=60_000)


def test_events_and_the_result_arrive_in_order_in_the_windows_thread(qtbot, job):
    recorder = Recorder(job)

    def work():
        assert threading.current_thread() is not threading.main_thread()
        yield from "abc"
        return 42

    job.start(work)
    wait_for_end(qtbot, job)

    assert recorder.events == ["a", "b", "c"]
    assert recorder.results == [42]
    assert recorder.states == [JobState.STARTING, JobState.RUNNING, JobState.FINISHED]
    assert recorder.threads == {threading.main_thread()}


def test_progress_that_piles_up_is_thinned_out_but_the_last_and_all_else_arrive(qtbot, job):
    recorder = Recorder(job)
    bad = ImageFailed(1, 1, "a", "damaged")

    def work():
        for i in range(1000):
            yield TileDone(image=1, images=1, tile=i + 1, tiles=1000, cells=0)
        yield bad
        yield TileDone(image=1, images=1, tile=1000, tiles=1000, cells=5)

    job.start(work)
    wait_for_end(qtbot, job)

    assert recorder.events.count(bad) == 1
    assert len(recorder.events) < 100
    assert recorder.events[-1].cells == 5


def test_a_listener_may_let_qt_run_its_events(qtbot, qapp, job):
    recorder = Recorder(job)

    def let_qt_run(_event):
        time.sleep(0.1)  # more events pile up, and the thread ends
        qapp.processEvents()

    job.reported.connect(let_qt_run)
    job.start(lambda: iter_of("abcdefgh"))
    wait_for_end(qtbot, job)

    assert recorder.events == list("abcdefgh")
    assert recorder.results == ["done"]


def iter_of(values):
    for value in values:
        time.sleep(0.02)
        yield value
    return "done"


def test_stop_is_felt_at_once_and_the_generator_is_closed_in_its_own_thread(qtbot, job):
    recorder = Recorder(job)
    closed_in = []

    def work():
        try:
            while True:
                time.sleep(0.01)
                yield None
        finally:
            time.sleep(0.2)
            closed_in.append(threading.current_thread())

    job.start(work)
    qtbot.wait(50)
    assert job.stop()
    assert job.state is JobState.STOPPING  # it did not wait for the end
    wait_for_end(qtbot, job)

    assert job.state is JobState.STOPPED
    assert closed_in
    assert closed_in[0] is not threading.main_thread()
    assert recorder.results == recorder.errors == []
    assert not job.stop()


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), SystemExit(1), KeyboardInterrupt(), ValueError("x")])
def test_whatever_is_raised_is_reported_and_the_job_can_run_again(qtbot, job, error):
    recorder = Recorder(job)

    def work():
        yield 1
        raise error

    job.start(work)
    wait_for_end(qtbot, job)
    assert job.state is JobState.FAILED
    assert isinstance(recorder.errors[0], EngineError)
    assert "test_gui_jobs.py" in recorder.errors[0].details

    job.start(lambda: iter_once(2))
    wait_for_end(qtbot, job)
    assert recorder.events == [1, 2]
    assert job.error is None


def test_an_error_of_the_program_stays_itself_also_when_the_generator_cannot_be_made(qtbot, job):
    recorder = Recorder(job)

    def make():
        raise ImageReadError("no such file")

    job.start(make)
    wait_for_end(qtbot, job)
    assert isinstance(recorder.errors[0], ImageReadError)


def iter_once(value):
    yield value
    return value


def test_a_new_start_replaces_the_run_before_whose_events_no_longer_count(qtbot, job):
    recorder = Recorder(job)
    release = threading.Event()
    old_is_closed = threading.Event()

    def old():
        try:
            release.wait(5)
            yield "old"
            return "old"
        finally:
            old_is_closed.set()

    job.start(old)
    job.start(lambda: iter_once("new"))
    wait_for_end(qtbot, job)
    release.set()
    assert old_is_closed.wait(5)
    qtbot.wait(120)

    assert recorder.events == recorder.results == ["new"]


def test_closing_the_viewer_stops_the_job_and_waits_for_it(qtbot, state, job):
    cleaned = []

    def work():
        try:
            while True:
                time.sleep(0.01)
                yield None
        finally:
            cleaned.append(True)

    job.start(work)
    qtbot.wait(30)
    state.close()

    assert cleaned == [True]
    assert not job.is_busy


def test_a_job_over_the_engine_process_that_hangs_stops_and_runs_again(qtbot, job):
    client = EngineClient(TASKS, HOST)
    recorder = Recorder(job)
    job.start(lambda: client.run("hang"))
    qtbot.waitUntil(lambda: bool(recorder.events), timeout=60_000)

    job.stop()
    wait_for_end(qtbot, job)  # the task itself would hang for longer
    assert job.state is JobState.STOPPED

    job.start(lambda: client.run("count", n=2))
    wait_for_end(qtbot, job)
    assert job.state is JobState.FINISHED
    assert recorder.events[1:] == [0, 1]
    client.shutdown()


def test_twenty_quick_starts_and_stops_leave_no_thread_and_no_process(qtbot, job):
    client = EngineClient(TASKS, HOST)
    before = threading.active_count()
    for i in range(20):
        job.start(lambda: client.run("count", n=1000, wait_s=0.01))
        qtbot.wait(i * 7 % 50)
        job.stop()
        wait_for_end(qtbot, job)
        assert job.state is JobState.STOPPED
    client.shutdown()

    assert client.process_id is None
    qtbot.waitUntil(lambda: threading.active_count() <= before, timeout=60_000)

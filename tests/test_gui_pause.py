"""Pausing a job: one with a generator in this process, and one over the engine process."""

from __future__ import annotations

import threading
import time

import psutil
import pytest
from engine_tasks import HOST, TASKS
from napari.components import ViewerModel

from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.pausing import pausable
from napari_cellseg.events import Paused, Resumed
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.widgets.job_row import JobRow


@pytest.fixture
def state(qapp):  # noqa: ARG001 - signals need an application
    state = AppState(ViewerModel())
    yield state
    state.close()


class Plain:
    """A generator of this process, which the job itself holds."""

    def __init__(self, state):
        self.job = Job(state, "testing")

    def start(self, n, cleaned=None):
        self.job.start(lambda: counting(n, cleaned))

    def close(self):
        pass


class Remote:
    """The equivalent for the engine process, which pauses without help."""

    def __init__(self, state):
        self.client = EngineClient(TASKS, HOST)
        self.job = Job(state, "testing", self.client.hold)

    def start(self, n, cleaned=None):
        client = self.client
        self.job.start(lambda: client.run("count", n=n, wait_s=0.01, cleaned=cleaned))

    def close(self):
        self.client.shutdown()


def counting(n, cleaned=None):
    try:
        for i in range(n):
            time.sleep(0.01)
            yield i
    finally:
        if cleaned is not None:
            cleaned.write_text("cleaned up")


@pytest.fixture(params=[Plain, Remote])
def work(request, state):
    work = request.param(state)
    work.states, work.events = [], []
    work.job.changed.connect(lambda: work.states.append(work.job.state))
    work.job.reported.connect(work.events.append)
    yield work
    work.close()


def wait_for(qtbot, job, *states):
    qtbot.waitUntil(lambda: job.state in states, timeout=60_000)


def pause(qtbot, work):
    qtbot.waitUntil(lambda: len(work.events) > 3, timeout=60_000)
    assert work.job.pause()
    assert work.job.state is JobState.PAUSING  # it did not wait for the pause
    wait_for(qtbot, work.job, JobState.PAUSED)


def test_a_paused_job_does_nothing_until_it_is_resumed_and_then_misses_nothing(qtbot, work):
    work.start(30)
    pause(qtbot, work)
    seen = len(work.events)
    qtbot.wait(300)
    assert len(work.events) == seen
    assert work.job.is_busy
    assert not work.job.pause()

    assert work.job.resume()
    wait_for(qtbot, work.job, JobState.FINISHED)

    assert work.events == list(range(30))
    assert [state.name for state in work.states] == ["STARTING", "RUNNING", "PAUSING", "PAUSED", "RUNNING", "FINISHED"]
    assert not work.job.resume()


def test_stop_works_while_paused_and_the_next_run_is_not_held(qtbot, work, tmp_path):
    work.start(1000, tmp_path / "file")
    pause(qtbot, work)

    work.job.stop()
    assert work.job.state is JobState.STOPPING
    wait_for(qtbot, work.job, JobState.STOPPED)
    assert (tmp_path / "file").read_text() == "cleaned up"

    work.start(3)
    wait_for(qtbot, work.job, JobState.FINISHED)


def test_a_new_start_takes_the_place_of_a_paused_run(qtbot, work):
    work.start(1000)
    pause(qtbot, work)
    work.events.clear()
    work.start(3)
    wait_for(qtbot, work.job, JobState.FINISHED)
    assert work.events == [0, 1, 2]


def test_a_job_can_be_paused_as_soon_as_it_was_started(qtbot, work):
    work.start(100)
    assert work.job.state is JobState.STARTING
    assert work.job.pause()
    wait_for(qtbot, work.job, JobState.PAUSED)
    seen = len(work.events)  # mostly none, but the thread may have been quicker
    qtbot.wait(100)
    assert len(work.events) == seen
    work.job.resume()
    assert work.job.state is (JobState.RUNNING if seen else JobState.STARTING)
    wait_for(qtbot, work.job, JobState.FINISHED)
    assert work.events == list(range(100))


def test_pressing_pause_and_resume_many_times_ends_as_the_last_press_says(qtbot, work):
    work.start(1000)
    qtbot.waitUntil(lambda: bool(work.events), timeout=60_000)
    for i in range(20):
        (work.job.resume if i % 2 else work.job.pause)()
        qtbot.wait(i * 7 % 60)
    assert work.job.state is JobState.RUNNING
    seen = len(work.events)
    qtbot.waitUntil(lambda: len(work.events) > seen + 5, timeout=60_000)
    assert work.events == list(range(len(work.events)))
    work.job.stop()
    wait_for(qtbot, work.job, JobState.STOPPED)


def test_closing_the_viewer_ends_a_paused_job(qtbot, state, work):
    work.start(1000)
    pause(qtbot, work)
    state.close()
    assert not work.job.is_busy


def test_the_clock_stands_still_while_paused(qtbot, work):
    work.start(1000)
    pause(qtbot, work)
    before = work.job.elapsed_s
    qtbot.wait(300)
    assert work.job.elapsed_s == pytest.approx(before, abs=0.05)
    work.job.resume()
    qtbot.wait(200)
    work.job.stop()
    wait_for(qtbot, work.job, JobState.STOPPED)
    assert before + 0.15 < work.job.elapsed_s < before + 5


def test_a_paused_engine_process_uses_no_processor(qtbot, state):
    work = Remote(state)
    work.events = []
    work.job.reported.connect(work.events.append)
    work.start(1000)
    pause(qtbot, work)
    process = psutil.Process(work.client.process_id)
    before = process.cpu_times()
    qtbot.wait(500)
    after = process.cpu_times()
    assert sum(after[:2]) - sum(before[:2]) < 0.02
    work.close()


def test_one_job_of_an_engine_does_not_resume_the_other(qtbot, state):
    work = Remote(state)
    work.events = []
    work.job.reported.connect(work.events.append)
    other = Job(state, "other", work.client.hold)
    work.start(1000)
    pause(qtbot, work)

    client = work.client
    other.start(lambda: client.run("count"))
    qtbot.wait(100)
    other.stop()
    wait_for(qtbot, other, JobState.STOPPED)

    assert work.client.hold.is_set()
    assert work.job.state is JobState.PAUSED
    work.close()


def test_a_generator_of_this_process_says_that_it_holds():
    hold = threading.Event()
    held = pausable(iter_three(), hold)
    assert next(held) == 0
    hold.set()
    assert next(held) == Paused()
    assert next(held) is None
    hold.clear()
    assert [next(held), next(held)] == [Resumed(), 1]
    with pytest.raises(StopIteration) as end:
        [next(held), next(held)]
    assert end.value.value == "three"


def iter_three():
    yield from range(3)
    return "three"


def test_the_row_has_a_pause_button_that_becomes_resume(qtbot, work):
    row = JobRow(work.job, pausable=True)
    qtbot.addWidget(row)
    row.show()
    assert not row.pause_button.isVisible()
    work.start(1000)
    assert row.pause_button.isVisible()
    qtbot.waitUntil(lambda: bool(work.events), timeout=60_000)
    row.set_progress(3, 10, "step 3")

    row.pause_button.click()
    assert row.label.text().startswith("Pausing...")
    wait_for(qtbot, work.job, JobState.PAUSED)
    assert row.label.text().startswith("Paused")
    assert row.pause_button.text() == "Resume"
    assert row.bar.value() == 3

    row.pause_button.click()
    assert row.pause_button.text() == "Pause"
    assert row.label.text().startswith("step 3")
    row.stop_button.click()
    assert not row.pause_button.isEnabled()
    wait_for(qtbot, work.job, JobState.STOPPED)
    assert not row.pause_button.isVisible()


def test_a_row_has_no_pause_button_unless_it_is_asked_for(qtbot, state):
    job = Job(state, "testing")
    row = JobRow(job)
    qtbot.addWidget(row)
    row.show()
    job.start(lambda: counting(1000))
    assert not row.pause_button.isVisible()
    job.stop()
    wait_for(qtbot, job, JobState.STOPPED)

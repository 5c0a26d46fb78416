from __future__ import annotations

import time

import pytest


@pytest.mark.gui
def test_no_progress_is_left_in_the_activity_dock_when_a_job_ends_while_napari_shows_it(qtbot, monkeypatch):
    import napari
    from napari.utils import progress

    from napari_cellseg.gui.jobs import Job
    from napari_cellseg.gui.plugin import plugin_of
    from napari_cellseg.gui.widgets.job_row import JobRow

    class SlowProgress(progress):
        """As on a busy machine: napari lets Qt run its events until the job is over."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            qtbot.waitUntil(lambda: not job.is_busy, timeout=60_000)

    def work():
        yield 1
        time.sleep(0.2)

    monkeypatch.setattr("napari.utils.progress", SlowProgress)
    viewer = napari.Viewer(show=False)
    job = Job(plugin_of(viewer).state, "working")
    row = JobRow(job)
    qtbot.addWidget(row)
    job.reported.connect(lambda _: row.set_progress(1, 2, "half"))
    job.start(work)
    qtbot.waitUntil(lambda: job.state.name == "FINISHED", timeout=60_000)
    qtbot.wait(50)
    left = [bar.desc for bar in progress._all_instances if bar.desc.startswith("working")]
    viewer.close()
    assert left == []


@pytest.mark.gui
def test_progress_runs_no_events_within_the_slot_that_shows_it(qtbot):
    """Else PyQt may meet a connection that is deleted while it is in use; see `Activity`."""
    import napari
    from napari.utils import progress
    from qtpy.QtCore import QTimer

    from napari_cellseg.gui.jobs import Job
    from napari_cellseg.gui.plugin import plugin_of
    from napari_cellseg.gui.widgets.job_row import JobRow

    viewer = napari.Viewer(show=False)
    job = Job(plugin_of(viewer).state, "working")
    row, other = JobRow(job), JobRow(job)
    qtbot.addWidget(row)
    qtbot.addWidget(other)
    ran, lines, during = [], [], []

    def work():
        for i in range(1, 4):
            yield i
            time.sleep(0.1)

    def show(i):
        QTimer.singleShot(0, lambda: ran.append(i))
        row.set_progress(i, 3, "some")
        other.set_progress(i, 3, "some")
        during.append(i in ran)
        QTimer.singleShot(
            50, lambda: lines.extend(bar.n for bar in progress._all_instances if bar.desc.startswith("working"))
        )

    job.reported.connect(show)
    job.start(work)
    qtbot.waitUntil(lambda: job.state.name == "FINISHED", timeout=60_000)
    qtbot.wait(60)
    left = [bar.desc for bar in progress._all_instances if bar.desc.startswith("working")]
    viewer.close()
    assert during == [False] * 3
    assert lines, "the activity dock showed nothing"
    assert left == []

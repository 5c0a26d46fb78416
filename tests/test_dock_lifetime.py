"""A dock that is closed leaves nothing behind: no object, no job, no listener; and what it started continues."""

from __future__ import annotations

import gc
import threading
from collections import Counter

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QWidget

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ExportError
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.train.compare import CompareWindow
from napari_cellseg.gui.widgets.workflow import dock_of
from napari_cellseg.instances import InstanceMasks
from training.comparison import ClassComparison, Comparison, ImageComparison, ModelScores

DOCKS = ("Open", "Segment", "Review", "Train", "Export", "Batch", "Models", "Gallery", "Table")


def delete_what_is_to_be_deleted():
    for _ in range(3):
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def ours(state):
    """Count the Qt objects that live as long as the state does, and the widgets of the whole program."""
    delete_what_is_to_be_deleted()
    gc.collect()
    kinds = Counter(type(child).__name__ for child in state.findChildren(QObject))
    return kinds + Counter(widget.metaObject().className() for widget in QApplication.allWidgets())


@pytest.mark.gui
def test_docks_that_are_opened_and_closed_leave_nothing(window):
    def cycle():
        opened = [window.viewer.window.add_plugin_dock_widget("napari-cellseg", name)[1] for name in DOCKS]
        for _ in range(5):
            QApplication.processEvents()
        for widget in opened:
            dock_of(widget).destroyOnClose()
        return ours(window.state)

    cycle()
    before = cycle()
    assert cycle() - before == Counter()
    window.open()  # reaches every listener that was left
    window.viewer.layers.pop()
    delete_what_is_to_be_deleted()


@pytest.fixture
def owner(qapp):  # noqa: ARG001 - widgets need an application
    return QWidget()


def ask_to_delete(widget):
    widget.deleteLater()
    delete_what_is_to_be_deleted()


def jobs(state):
    delete_what_is_to_be_deleted()
    return [job.title for job in state.findChildren(Job) if job.title == "testing"]


def wait_then(event, error=None):
    while not event.wait(0.01):
        yield None
    if error is not None:
        raise error


def test_an_idle_job_goes_with_its_owner(plugin, owner):
    Job(plugin.state, "testing").end_with(owner, pytest.fail)
    assert jobs(plugin.state) == ["testing"]
    ask_to_delete(owner)
    assert jobs(plugin.state) == []


@pytest.mark.parametrize("error", [None, ExportError("the disk is full")])
def test_a_job_at_work_goes_on_without_its_owner_and_a_failure_is_told(qtbot, plugin, owner, error):
    told, states, release = [], [], threading.Event()
    job = Job(plugin.state, "testing")
    job.end_with(owner, told.append)
    job.changed.connect(lambda: states.append(job.state))
    job.start(lambda: wait_then(release, error))
    ask_to_delete(owner)
    assert jobs(plugin.state) == ["testing"]

    release.set()
    qtbot.waitUntil(lambda: jobs(plugin.state) == [])
    assert states[-1] is (JobState.FINISHED if error is None else JobState.FAILED)
    assert [str(e) for e in told] == ([] if error is None else ["the disk is full"])


def test_a_comparison_that_is_closed_leaves_no_job(qtbot, plugin, tmp_path):
    scores = ModelScores(ap50=0.5, pq=0.5, f1=0.5, matched=1, missed=1, false=0)
    none, nothing = InstanceMasks.empty((40, 50)), np.zeros(0, np.intp)
    image = ImageComparison(
        image_id="a",
        truth=none,
        old=none,
        new=none,
        gained=nothing,
        lost=nothing,
        old_false=nothing,
        new_false=nothing,
    )
    one_class = ClassComparison(class_id=1, name="x", cells=2, old=scores, new=scores, gained=1, lost=1)
    comparison = Comparison(
        old_name="old",
        new_name="new",
        classes=(one_class,),
        old=scores,
        new=scores,
        images=(image,),
        seconds=1.0,
    )

    def drawing():
        delete_what_is_to_be_deleted()
        return [job for job in plugin.state.findChildren(Job) if job.title == "drawing a comparison"]

    for _ in range(3):
        shown = CompareWindow(plugin.state, comparison, ClassTable(("x",)), tmp_path, None)
        shown.show()
        assert len(drawing()) == 1
        shown.close()  # immediately, while it still looks for the image
        qtbot.waitUntil(lambda: drawing() == [])

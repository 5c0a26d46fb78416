"""The dock *Batch* over a fake engine; `test_batch_real` uses the real one."""

from __future__ import annotations

import numpy as np
import pytest
from batch_window import (
    FOUND,
    HEADER,
    RGB,
    batch_dock,
    fake_engine,
    make_folder,
    open_folder,
    predict,
    press,
    rows,
    settle,
    tiles_folder,
)
from qtpy.QtCore import Qt
from slide_files import write_pyramid

from napari_cellseg.errors import EngineError
from napari_cellseg.events import Message
from napari_cellseg.gui import docks
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.images import slide_levels
from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.workspace import Sessions

folder = pytest.fixture(tiles_folder)
engine = pytest.fixture(fake_engine)
dock = pytest.fixture(batch_dock)


def test_without_a_folder_it_says_what_to_do(dock):
    assert dock.button.toolTip() == "Open a folder of images first."
    assert dock.counts.text() == "Open a folder of images, or choose one."
    assert not dock.results.write.isEnabled()


def test_a_folder_is_predicted_stored_and_listed(qtbot, dock, engine, folder):
    open_folder(qtbot, dock, folder)
    assert dock.button.text() == "Predict 3 images"
    predict(qtbot, dock)
    assert engine.predicted == ["a", "b", "c"]
    assert dock.counts.text() == "3 images: 3 predicted"
    assert dock.row.message.text().startswith("3 images predicted in ")
    assert dock.state.session.count() == (FOUND.scores >= 0.5).sum()
    assert [dock.opener.summaries.of[name].total for name in "abc"] == [dock.state.session.count()] * 3
    assert not dock.button.isEnabled()
    assert "All images are done" in dock.button.toolTip()


def test_another_viewer_later_goes_on_where_it_was_stopped(qtbot, dock, engine, folder):
    open_folder(qtbot, dock, folder)
    engine.behaviour = {"b": 60.0}
    press(qtbot, dock)
    qtbot.waitUntil(lambda: dock.row.label.text().startswith("Image 2 of 3"), timeout=60_000)
    dock.row.stop_button.click()
    qtbot.waitUntil(lambda: not dock.batch.job.is_busy, timeout=60_000)
    settle(qtbot, dock)
    assert dock.counts.text() == "3 images: 2 to do, 1 predicted"
    engine.behaviour, engine.predicted = {}, []
    predict(qtbot, dock)
    assert engine.predicted == ["b", "c"]


def test_pause_holds_and_resume_goes_on(qtbot, dock, engine, folder):
    open_folder(qtbot, dock, folder)
    engine.behaviour = dict.fromkeys("abc", 0.3)
    dock.batch.job._holds_by_itself = True  # the stand-in does not obey the engine's hold
    press(qtbot, dock)
    qtbot.waitUntil(lambda: dock.batch.job.state is JobState.RUNNING, timeout=60_000)
    dock.row.pause_button.click()
    qtbot.waitUntil(lambda: dock.batch.job.state is JobState.PAUSED, timeout=60_000)
    done = list(engine.predicted)
    qtbot.wait(500)
    assert engine.predicted == done
    assert dock.row.pause_button.text() == "Resume"
    dock.row.pause_button.click()
    qtbot.waitUntil(lambda: not dock.batch.job.is_busy, timeout=60_000)
    assert engine.predicted == ["a", "b", "c"]


def test_a_failure_is_listed_with_its_reason_and_the_others_go_on(qtbot, dock, engine, folder):
    open_folder(qtbot, dock, folder)
    engine.behaviour = {"a": "a.tif is cut off", "b": EngineError("The engine process was killed from outside.")}
    predict(qtbot, dock)
    assert rows(dock.failures) == [
        ["a", "a.tif is cut off"],
        ["b", "The engine process was killed from outside."],
    ]
    assert dock.failures.isVisibleTo(dock)
    assert dock.counts.text() == "3 images: 1 predicted, 2 failed"
    engine.behaviour = {}
    predict(qtbot, dock)
    assert not dock.failures.isVisibleTo(dock)


def test_an_engine_that_dies_each_time_ends_the_run(qtbot, dock, engine, folder):
    open_folder(qtbot, dock, folder)
    engine.behaviour = dict.fromkeys("abc", EngineError("The engine process crashed (SIGSEGV)."))
    press(qtbot, dock)
    qtbot.waitUntil(lambda: dock.batch.job.state is JobState.FAILED, timeout=60_000)
    assert "SIGSEGV" in dock.row.message.text()


def test_images_with_reviewed_cells_are_left_alone_until_asked_for(qtbot, dock, engine, folder):
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    dock.state.session.accept([1])
    dock.opener.save()
    dock.advanced.set_values({"tile": 512})
    settle(qtbot, dock)
    assert dock.counts.text() == "3 images: 2 to do, 1 reviewed"
    assert dock.reviewed.isVisibleTo(dock)
    engine.predicted = []
    predict(qtbot, dock)
    assert engine.predicted == ["b", "c"]

    dock.reviewed.setCurrentIndex(1)
    assert dock.button.text() == "Predict 1 image"
    engine.predicted = []
    predict(qtbot, dock)
    assert engine.predicted == ["a"]
    assert dock.state.session.cells[1].reviewed


def test_all_again(qtbot, dock, engine, folder):
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    dock.which.setCurrentIndex(1)
    engine.predicted = []
    predict(qtbot, dock)
    assert engine.predicted == ["a", "b", "c"]


def test_a_folder_that_is_not_open_is_predicted_while_another_one_is(qtbot, dock, engine, folder, tmp_path):
    other = make_folder(tmp_path / "test", "xy")
    open_folder(qtbot, dock, folder)
    dock.use_folder(other)
    settle(qtbot, dock)
    predict(qtbot, dock)
    assert engine.predicted == ["x", "y"]
    assert dock.state.image_id == "a"
    assert not dock.state.session.cells
    with Sessions.of_folder(other) as workspace:  # it is no longer locked
        assert not workspace.read_only
        assert workspace.project.classes == TISSUE_CLASSES
        assert len(workspace.read("x").cells) == len(FOUND)

    dock.open_image("y")
    qtbot.waitUntil(lambda: dock.state.image_id == "y", timeout=60_000)
    assert dock.state.session.cells


def test_opening_the_folder_while_it_is_predicted_is_no_conflict(qtbot, dock, engine, folder, tmp_path):
    other = make_folder(tmp_path / "test", "xyz")
    open_folder(qtbot, dock, folder)
    dock.use_folder(other)
    settle(qtbot, dock)
    engine.behaviour = dict.fromkeys("xyz", 0.3)
    press(qtbot, dock)
    qtbot.waitUntil(lambda: dock.row.label.text().startswith("Image 2 of 3"), timeout=60_000)
    dock.opener.open_path(other)
    qtbot.waitUntil(lambda: dock.state.image_id == "x", timeout=60_000)
    assert not dock.state.workspace.read_only
    qtbot.waitUntil(lambda: not dock.batch.job.is_busy, timeout=60_000)
    assert not dock.batch.failures
    assert [len(dock.state.workspace.read(name).cells) for name in "xyz"] == [len(FOUND)] * 3


def test_a_folder_of_another_window_is_refused_in_words(qtbot, dock, tmp_path):
    other = make_folder(tmp_path / "test", "x")
    with Sessions.of_folder(other):
        dock.use_folder(other)
        settle(qtbot, dock)
        press(qtbot, dock)
        assert "Open in another window of this program" in dock.row.message.text()
        assert not dock.batch.job.is_busy


def test_what_to_review_next_is_listed_with_the_reason_and_opens(qtbot, dock, folder):
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    first, second, _ = rows(dock.next_images)
    assert first[0] == "a"
    assert "near the threshold" in first[2]
    dock.state.session.accept(list(dock.state.session.cells))  # all decided about: nothing left in this one
    dock.opener.save()
    settle(qtbot, dock)
    assert [row[0] for row in rows(dock.next_images)] == ["b", "c"]
    dock.next_images.setCurrentItem(dock.next_images.topLevelItem(1))
    qtbot.keyClick(dock.next_images, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.state.image_id == "c", timeout=60_000)
    assert second[0] == "b"


def test_closing_a_dock_does_not_disturb_the_run_and_another_one_shows_it(qtbot, dock, engine, folder, viewer):
    open_folder(qtbot, dock, folder)
    engine.behaviour = {"a": "cut off", "b": 0.5}
    closed = docks.Batch(viewer)
    assert closed.batch is dock.batch
    settle(qtbot, dock)
    press(qtbot, dock)
    closed.deleteLater()
    qtbot.waitUntil(lambda: engine.predicted == ["b", "c"], timeout=60_000)
    qtbot.waitUntil(lambda: dock.counts.text() == "3 images: 2 predicted, 1 failed", timeout=60_000)
    assert rows(dock.failures) == [["a", "cut off"]]


def test_the_counter_moves_during_the_run(qtbot, dock, engine, folder):
    engine.behaviour["b"] = "Cannot read b.tif: it is cut off."
    engine.behaviour["c"] = 3.0
    open_folder(qtbot, dock, folder)
    press(qtbot, dock)
    qtbot.waitUntil(lambda: bool(dock.batch.failures), timeout=60_000)
    assert dock.batch.job.is_busy
    assert dock.counts.text() == "3 images: 1 to do, 1 predicted, 1 failed"
    qtbot.waitUntil(lambda: not dock.batch.job.is_busy, timeout=60_000)
    assert dock.counts.text() == "3 images: 2 predicted, 1 failed"
    assert dock.opener.summaries.problems == {"b": "Cannot read b.tif: it is cut off."}


def test_what_segment_predicted_counts_once_it_is_saved(qtbot, dock, engine, folder, plugin):
    open_folder(qtbot, dock, folder)
    model, segmentation = dock.chosen_model(), plugin.segmentation
    segmentation.engine.run = engine.run
    segmentation.start(model.options, HEADER.classes, model.name, model.pixel_size_um, HEADER.config, HEADER.sha256)
    qtbot.waitUntil(lambda: not segmentation.job.is_busy and bool(dock.state.session.cells), timeout=60_000)
    settle(qtbot, dock)
    assert dock.counts.text() == "3 images: 2 to do, 1 predicted"
    dock.opener.save()
    dock.opener.show("b")
    qtbot.waitUntil(lambda: dock.state.image_id == "b", timeout=60_000)
    settle(qtbot, dock)
    assert dock.counts.text() == "3 images: 2 to do, 1 predicted"
    dock.advanced.set_values({"nms": 0.3})
    settle(qtbot, dock)
    assert dock.counts.text() == "3 images: 3 to do"


def test_warnings_of_the_run_are_shown(qtbot, dock, engine, folder):
    engine.behaviour["b"] = Message("warning", "b: it is nearly black")
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    assert dock.warnings.isVisibleTo(dock)
    assert dock.warnings.text() == "b: it is nearly black"


def test_a_slide_in_the_folder_is_named_and_left_out(qtbot, dock, engine, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(slide_levels, "SLIDE_PX", 100 * 100)
    write_pyramid(folder / "whole.tif", np.tile(RGB, (2, 2, 1)), levels=2)
    open_folder(qtbot, dock, folder)
    assert dock.counts.text() == "4 images: 3 to do, 1 left out"
    assert dock.slides.text().startswith("whole is a slide and is left out here: open it and use Segment")
    assert not dock.slides.isHidden()
    dock.which.setCurrentIndex(1)
    assert dock.button.text() == "Predict 3 images"
    predict(qtbot, dock)
    assert engine.predicted == ["a", "b", "c"]
    write_pyramid(make_folder(tmp_path / "slides", "") / "whole.tif", np.tile(RGB, (2, 2, 1)), levels=2)
    dock.batch.choose_folder(tmp_path / "slides")
    settle(qtbot, dock)
    assert not dock.button.isEnabled()
    assert dock.button.toolTip() == dock.slides.text(), "with nothing else to do, the button says it"

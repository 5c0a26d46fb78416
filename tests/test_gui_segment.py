"""The dock *Segment*; the engine process has its own tests."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from segment_window import CONFIG, FOUND, GOOD, READY, RGB, answer, segment, segment_dock, shown_image

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import EngineError
from napari_cellseg.events import ImageFailed
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import TISSUE_CLASSES

dock = pytest.fixture(segment_dock)
image = pytest.fixture(shown_image)


def test_the_button_says_why_it_cannot_work(dock, viewer):
    assert not dock.button.isEnabled()
    assert dock.button.toolTip() == "Open an image first."
    viewer.add_image(RGB, rgb=True)
    assert dock.button.isEnabled()


@pytest.mark.usefixtures("image")
def test_a_run_gives_one_layer_a_class_with_the_cells_in_the_session(qtbot, dock, viewer):
    segment(qtbot, dock, answer(GOOD))
    dock.layers.finish()

    assert dock.segmentation.job.state is JobState.FINISHED
    assert [layer.name for layer in viewer.layers] == ["tissue", *TISSUE_CLASSES.names]
    assert len(dock.state.session.cells) == len(FOUND)
    assert dock.device_reason.text() == READY.reason
    assert re.search(r"cells shown, in 0:\d\d\.$", dock.row.message.text()), "what the user waited"
    assert dock.button.isEnabled()


def test_an_image_layer_of_another_plugin_is_taken_as_it_is(qtbot, dock, viewer):
    viewer.add_image(RGB, name="from elsewhere", rgb=True)
    run = answer(GOOD)
    segment(qtbot, dock, run)
    (item,) = run.calls[0].items
    assert item.image_id == "from elsewhere"
    np.testing.assert_array_equal(item.source, RGB)
    assert dock.state.session.count()


def test_a_plane_chosen_in_open_leaves_the_limits_of_the_model_in_force(qtbot, dock, monkeypatch, tmp_path):
    stack = np.stack([RGB, RGB // 2]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    reading = ReadOptions(limits=(0, 300))
    header = dock.model.header.model_copy(update={"config": CONFIG.with_changes(reading=reading)})
    monkeypatch.setattr(type(dock.model), "header", header)
    dock.opener.open_path(tmp_path)
    qtbot.waitUntil(lambda: dock.state.image is not None and not dock.opener.job.is_busy, timeout=60_000)
    run = answer(GOOD)
    segment(qtbot, dock, run)
    dock.opener.read_as(dock.state.image.options.changed(plane=1))
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.plane == 1, timeout=60_000)
    segment(qtbot, dock, run)
    dock.opener.read_as(dock.state.image.options.changed(limits="auto"))
    qtbot.waitUntil(lambda: dock.state.image is not None and "limits" in dock.state.image.options.model_fields_set)
    segment(qtbot, dock, run)
    expected = [reading, reading.changed(plane=1), ReadOptions(plane=1)]
    for call, options in zip(run.calls, expected, strict=True):
        np.testing.assert_array_equal(call.items[0].source, read_image(tmp_path / "a.tif", options=options).rgb())


def test_of_a_stack_the_plane_on_show_is_segmented_and_said(qtbot, dock, viewer):
    stack = np.stack([RGB, 255 - RGB, RGB // 2])
    viewer.add_image(stack, name="z-stack", rgb=True)
    viewer.dims.set_point(0, 1)
    run = answer(GOOD)
    segment(qtbot, dock, run)
    (item,) = run.calls[0].items
    assert item.image_id == "z-stack, plane 1"
    np.testing.assert_array_equal(item.source, 255 - RGB)
    assert dock.row.message.text().endswith("Segmented: z-stack, plane 1.")
    dock.layers.finish()

    viewer.layers["epithelial"].visible = False
    viewer.dims.set_point(0, 2)
    assert not any(layer.visible for layer in dock.layers)
    told = [record.message for record in notification_manager.records]
    assert told[-1] == "The cells belong to z-stack, plane 1, and are shown only on that plane."
    viewer.dims.set_point(0, 1)
    assert [layer.name for layer in dock.layers if not layer.visible] == ["epithelial"]

    first = dock.state.session
    segment(qtbot, dock, run)  # the same plane again keeps what was reviewed
    assert dock.state.session is first


def test_the_layers_hidden_on_another_plane_are_visible_for_the_next_image(qtbot, dock, viewer, monkeypatch):
    monkeypatch.setattr("napari_cellseg.gui.opening.leaving.ask_to_drop", lambda *_: True)
    viewer.add_image(np.stack([RGB, 255 - RGB]), name="z-stack", rgb=True)
    viewer.dims.set_point(0, 0)
    segment(qtbot, dock, answer(GOOD))
    dock.layers.finish()
    viewer.dims.set_point(0, 1)
    assert not any(layer.visible for layer in dock.layers)
    dock.opener.show_pixels(viewer.add_image(RGB, name="flat", rgb=True))
    dock.layers.finish()
    assert len(list(dock.layers)) == len(TISSUE_CLASSES)
    assert all(layer.visible for layer in dock.layers)


def test_the_next_plane_of_a_stack_is_a_new_image_after_a_question(qtbot, dock, viewer, monkeypatch):
    answers = [False, True]
    monkeypatch.setattr("napari_cellseg.gui.opening.leaving.ask_to_drop", lambda *_: answers.pop(0))
    grey = np.stack([RGB[..., 0], RGB[..., 1], RGB[..., 2]])
    viewer.add_image(grey, name="z-stack", scale=(2, 1, 1))
    viewer.dims.set_point(0, 2)  # in the units of the scale
    run = answer(GOOD)
    segment(qtbot, dock, run)
    viewer.dims.set_point(0, 4)
    segment(qtbot, dock, run)  # the cells of plane 1 would be lost: the answer is no
    assert len(run.calls) == 1
    segment(qtbot, dock, run)
    assert [call.items[0].image_id for call in run.calls] == ["z-stack, plane 1", "z-stack, plane 2"]
    np.testing.assert_array_equal(run.calls[1].items[0].source[..., 0], RGB[..., 2])


def test_a_stack_shown_in_3d_is_refused(dock, viewer):
    viewer.add_image(np.stack([RGB[..., 0]] * 3), name="z-stack")
    viewer.dims.ndisplay = 3
    run = answer(GOOD)
    dock.segmentation.engine.run = run
    dock.button.click()
    assert not run.calls
    assert "show it in 2D" in notification_manager.records[-1].message
    assert dock.state.session is None


def test_a_16_bit_layer_in_micrometres_is_read_as_its_file_would_be(qtbot, dock, viewer):
    grey = RGB[..., 0].astype(np.uint16) * 16
    viewer.add_image(grey, contrast_limits=(160, 60_000), scale=(0.5, 0.5), units=("um", "um"))
    run = answer(GOOD)
    segment(qtbot, dock, run)

    (item,) = run.calls[0].items
    np.testing.assert_allclose(item.source[..., 1], RGB[..., 0], atol=1)
    assert item.pixel_size_um == 0.5
    dock.layers.finish()
    assert {tuple(layer.scale) for layer in viewer.layers} == {(1.0, 1.0)}


def test_the_model_brings_its_best_minimum_scores(dock):
    assert dock.state.min_scores == {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.2}
    assert [slider.value() for slider in dock.sliders.sliders.values()] == [500, 400, 300, 200]


def test_a_project_without_classes_shows_those_of_the_model(dock):
    assert dock.state.classes == TISSUE_CLASSES
    assert dock.state.classes_are_provisional


@pytest.mark.usefixtures("image")
def test_minimum_scores_that_were_set_before_the_image_came_count_for_it(qtbot, dock):
    segment(qtbot, dock, answer(GOOD))
    best = np.array([0, 0.5, 0.4, 0.3, 0.2], np.float32)
    assert dock.state.session.count() == (FOUND.scores >= best[FOUND.class_ids]).sum() < len(FOUND)


@pytest.mark.usefixtures("image")
def test_a_slider_filters_what_is_shown_without_running_again(qtbot, dock):
    run = answer(GOOD)
    segment(qtbot, dock, run)
    dock.state.set_min_scores(dict.fromkeys(TISSUE_CLASSES.class_ids, 0.0))
    assert dock.state.session.count() == len(FOUND)
    of_class = FOUND.class_ids == 3

    dock.sliders.sliders[3].setValue(dock.sliders.sliders[3].maximum())
    qtbot.waitUntil(lambda: dock.state.session.count(3) == 0, timeout=60_000)
    assert dock.state.session.count() == len(FOUND) - of_class.sum()
    dock.sliders.sliders[3].setValue(0)
    qtbot.waitUntil(lambda: dock.state.session.count() == len(FOUND), timeout=60_000)
    assert dock.sliders.counts[3].text() == str(of_class.sum())
    assert len(run.calls) == 1


@pytest.mark.usefixtures("image")
def test_a_slider_moved_there_and_back_shows_as_many_cells_as_before(qtbot, dock):
    segment(qtbot, dock, answer(GOOD))
    score = float(FOUND.scores[FOUND.class_ids == 3][1]) - 0.00004  # between two positions of the slider
    dock.state.set_min_scores({**dict.fromkeys(TISSUE_CLASSES.class_ids, 0.4321), 3: score})
    before = dock.state.session.count()
    slider = dock.sliders.sliders[3]
    place = slider.value()
    slider.setValue(place + 37)
    qtbot.waitUntil(lambda: dock.state.min_scores[3] == (place + 37) / slider.maximum())
    assert dock.state.min_scores[1] == 0.4321, "the other sliders were not moved"
    slider.setValue(place)
    qtbot.waitUntil(lambda: dock.state.min_scores[3] == score)
    assert dock.state.session.count() == before


@pytest.mark.usefixtures("image")
def test_what_a_person_decided_stays_when_it_runs_again(qtbot, dock):
    segment(qtbot, dock, answer(GOOD))
    session = dock.state.session
    accepted = max(session.cells)
    session.accept([accepted])

    segment(qtbot, dock, answer(GOOD))

    assert session.cells[accepted].reviewed
    assert len(session.cells) == len(FOUND)


@pytest.mark.usefixtures("image")
def test_stop_is_shown_at_once_and_the_button_comes_back(qtbot, dock):
    dock.segmentation.engine.run = answer((READY, *[None] * 1000), wait_s=0.01)
    dock.button.click()
    qtbot.waitUntil(lambda: dock.segmentation.job.state is JobState.RUNNING, timeout=60_000)
    assert dock.button.toolTip() == "Segmentation is running. Stop it first."

    dock.row.stop_button.click()
    assert dock.row.label.text().startswith("Stopping...")
    qtbot.waitUntil(lambda: dock.button.isEnabled(), timeout=60_000)
    assert dock.row.message.text().startswith("Stopped after")


@pytest.mark.usefixtures("image")
def test_another_image_stops_the_run_and_gets_none_of_its_cells(qtbot, dock, viewer):
    dock.segmentation.engine.run = answer((READY, *[None] * 20, *GOOD), wait_s=0.01)
    dock.button.click()
    qtbot.waitUntil(lambda: dock.segmentation.job.state is JobState.RUNNING, timeout=60_000)
    dock.opener.show_pixels(viewer.add_image(RGB[::-1].copy(), name="other", rgb=True))
    qtbot.waitUntil(lambda: not dock.segmentation.job.is_busy, timeout=60_000)
    assert not dock.state.session.cells


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (answer((READY, ImageFailed(1, 1, "tissue", "the memory is too small"))), "the memory is too small"),
        (answer(()), ""),
    ],
)
@pytest.mark.usefixtures("image")
def test_a_failure_is_one_message_in_the_dock_and_one_notification(qtbot, dock, run, text):
    if not text:

        def run(*_, **__):
            raise EngineError("The engine process crashed (SIGSEGV).")
            yield

        text = "crashed (SIGSEGV)"
    segment(qtbot, dock, run)
    assert text in dock.row.message.text()
    assert dock.row.message.text().startswith("Failed: ")
    assert [text in str(record.message) for record in notification_manager.records] == [True]
    assert dock.button.isEnabled()


@pytest.mark.usefixtures("image")
def test_options_that_do_not_fit_are_refused_before_anything_starts(dock):
    dock.advanced.set_values({"tile": 128, "overlap": 100})
    dock.button.click()
    assert "overlap" in dock.row.message.text()
    assert dock.segmentation.job.state is JobState.IDLE


@pytest.mark.usefixtures("image")
def test_a_project_without_a_class_of_the_model_is_told_which(dock):
    dock.state.set_classes(ClassTable(("tumour", "stroma")))
    dock.button.click()
    assert "the project lacks other" in dock.row.message.text()
    assert dock.segmentation.job.state is JobState.IDLE


@pytest.mark.usefixtures("image")
def test_a_class_that_the_model_needs_is_added_with_a_button(qtbot, dock):
    dock.state.set_classes(ClassTable((TISSUE_CLASSES.names[0], "mitosis")))
    shown = []
    notification_manager.notification_ready.connect(shown.append)
    segment(qtbot, dock, answer(GOOD))
    assert not dock.state.session.cells
    (offer,) = [each for each in shown if each.actions]
    label, add = offer.actions[0]
    assert label == f"Add {', '.join(TISSUE_CLASSES.names[1:])}"
    add(None)
    qtbot.waitUntil(lambda: not dock.segmentation.job.is_busy, timeout=60_000)
    assert dock.state.classes.names == (TISSUE_CLASSES.names[0], "mitosis", *TISSUE_CLASSES.names[1:])
    assert dock.state.classes.colours[2] == TISSUE_CLASSES.colours[1]
    assert len(dock.state.session.cells) == len(FOUND)
    notification_manager.notification_ready.disconnect(shown.append)

"""The dock *Batch* over a fake engine; `test_batch_real` uses the real one."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_cellseg.batch import predict_command
from napari_cellseg.commands.parser import make_parser
from napari_cellseg.commands.predict import prediction_options
from napari_cellseg.commands.reading import reading_of
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.errors import EngineError
from napari_cellseg.events import ImageDone, ImageFailed, Message, ModelReady, PredictSummary, TileDone
from napari_cellseg.formats.coco import ImageId, read_image_ids, write_image_ids
from napari_cellseg.formats.coco_results import check_results
from napari_cellseg.gui import docks
from napari_cellseg.gui.batch.dock import BatchDock
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.workspace import Sessions

RGB, TRUTH = generate_tissue((96, 96), 10, seed=1)
FOUND = replace(TRUTH, scores=np.linspace(0.9, 0.3, len(TRUTH), dtype=np.float32))
READY = ModelReady(
    model_name="lite",
    class_names=TISSUE_CLASSES.names,
    device="cpu",
    reason="auto: CPU, no CUDA device found",
    seconds=0.1,
)
HEADER = CheckpointHeader(
    name="lite", config=ModelConfig.preset("lite", TISSUE_CLASSES), thresholds=(0.5,) * 4, sha256="ab" * 32
)


class FakeEngine:
    """Finds the same cells in each image; ``behaviour`` by image_id: seconds to wait, or an exception or failure."""

    def __init__(self) -> None:
        self.behaviour: dict[str, object] = {}
        self.predicted: list[str] = []
        self.items: list[PredictItem] = []

    def run(self, task):
        assert isinstance(task, Predict)
        (item,) = task.items
        self.items.append(item)
        how = self.behaviour.get(item.image_id)
        yield READY
        yield TileDone(image=1, images=1, tile=1, tiles=1, cells=len(FOUND))
        end = time.monotonic() + (how if isinstance(how, float) else 0)
        while time.monotonic() < end:
            time.sleep(0.01)
            yield None
        if isinstance(how, Exception):
            raise how
        if isinstance(how, Message):
            yield how
        if isinstance(how, str):
            yield ImageFailed(1, 1, item.image_id, how)
            return PredictSummary(1, 1, 0, 0.1)
        self.predicted.append(item.image_id)
        yield ImageDone(image=1, images=1, image_id=item.image_id, instances=FOUND, seconds=0.1)
        return PredictSummary(1, 0, len(FOUND), 0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "tiles", "abc")


def make_folder(folder: Path, names: str) -> Path:
    folder.mkdir()
    for name in names:
        tifffile.imwrite(folder / f"{name}.tif", RGB, photometric="rgb")
    return folder


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def dock(engine, monkeypatch, open_dock) -> BatchDock:
    dock = open_dock(docks.Batch)
    monkeypatch.setattr(type(dock.model), "header", HEADER)
    monkeypatch.setattr(dock.batch.engine, "run", engine.run)
    return dock


def open_folder(qtbot, dock, path):
    dock.opener.open_path(path)
    qtbot.waitUntil(lambda: dock.state.session is not None, timeout=60_000)
    settle(qtbot, dock)


def settle(qtbot, dock):
    """Wait until the folder is scanned and its images are ordered."""
    dock._soon.stop()
    dock.look()
    qtbot.waitUntil(lambda: dock.batch.plan is not None and not dock.batch.rank_job.is_busy, timeout=60_000)
    qtbot.wait(60)


def press(qtbot, dock):
    """Press the button once it can be; it waits while the folder is scanned."""
    qtbot.waitUntil(dock.button.isEnabled, timeout=60_000)
    dock.button.click()


def predict(qtbot, dock):
    press(qtbot, dock)
    qtbot.waitUntil(lambda: not dock.batch.job.is_busy, timeout=60_000)
    settle(qtbot, dock)


def rows(tree):
    return [
        [tree.topLevelItem(i).text(column) for column in range(tree.columnCount())]
        for i in range(tree.topLevelItemCount())
    ]


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


# ---- the results file ----


def ids_beside(folder: Path, names: str) -> Path:
    path = folder.parent / "test_image_name_to_ids.json"
    write_image_ids(path, [ImageId(f"{name}.tif", 10 + i, 96, 96) for i, name in enumerate(names)])
    return path


def test_the_id_file_is_found_and_what_does_not_fit_is_named(qtbot, dock, folder):
    ids_beside(folder, "abx")
    open_folder(qtbot, dock, folder)
    assert dock.results.ids.text().splitlines() == [
        "2 of 3 images in the id file",
        "Not in this folder, so without a row: x",
        "Not in the id file, so left out: c",
    ]
    assert dock.results.ids_name.toolTip().endswith("test_image_name_to_ids.json")


def test_the_results_have_every_cell_nobody_rejected_and_are_valid(qtbot, dock, folder, tmp_path):
    ids = ids_beside(folder, "abx")
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    dock.state.session.reject([1])
    dock.results.folder.setText(str(tmp_path / "out"))
    dock.results.write.click()
    qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
    assert dock.results.row.message.text().startswith(f"Written and checked: {2 * len(FOUND) - 1} cells, 2 images")
    assert dock.results.problems.text() == "Not in this folder, so without a row: x"
    for name in ("test-results.json", "test-results.zip"):
        assert check_results(tmp_path / "out" / name, read_image_ids(ids), 4) == []


def test_results_before_a_prediction_are_refused(qtbot, dock, folder, tmp_path):
    open_folder(qtbot, dock, folder)
    dock.results.folder.setText(str(tmp_path / "out"))
    dock.results.write.click()
    qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
    assert "No image is predicted yet" in dock.results.row.message.text()


def add_stack(folder):
    stack = np.stack([RGB, RGB // 2, RGB // 3])
    tifffile.imwrite(folder / "z.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    return folder


@pytest.mark.parametrize("is_open", [True, False])
def test_of_a_stack_the_planes_left_out_are_counted_and_each_can_be_an_image(qtbot, dock, folder, tmp_path, is_open):
    add_stack(folder)
    open_folder(qtbot, dock, folder if is_open else make_folder(tmp_path / "other", "x"))
    dock.use_folder(folder)
    settle(qtbot, dock)
    assert dock.stacks.isVisibleTo(dock)
    assert dock.stacks.text() == "z is a stack: only plane 0 is predicted, 2 planes left out."
    dock.every_plane.click()
    qtbot.waitUntil(lambda: dock.batch.plan is not None and dock.batch.plan.every_plane, timeout=60_000)
    settle(qtbot, dock)
    assert not dock.stacks.isVisibleTo(dock)
    assert dock.counts.text() == "6 images: 6 to do"
    predict(qtbot, dock)
    assert dock.counts.text() == "6 images: 6 predicted"
    words = dock.results.command()
    assert words[words.index("--plane") + 1] == "all"

    dock.results.folder.setText(str(tmp_path / "out"))
    qtbot.waitUntil(lambda: dock.results.write.isEnabled(), timeout=60_000)
    dock.results.write.click()
    qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
    ids = read_image_ids(tmp_path / "out" / "test_image_name_to_ids.json")
    assert [each.file_name for each in ids][-3:] == ["z_plane0.tif", "z_plane1.tif", "z_plane2.tif"]

    dock.every_plane.click()
    qtbot.waitUntil(lambda: dock.batch.plan is not None and not dock.batch.plan.every_plane, timeout=60_000)
    settle(qtbot, dock)
    assert dock.counts.text() == "4 images: 1 to do, 3 predicted"


def test_each_plane_gets_the_pixels_of_its_plane(qtbot, dock, engine, folder):
    Sessions.of_folder(add_stack(folder)).set_every_plane(True)
    open_folder(qtbot, dock, folder)
    predict(qtbot, dock)
    planes = {item.image_id: item.reading.plane for item in engine.items if item.reading is not None}
    assert planes == {"z_plane0": 0, "z_plane1": 1, "z_plane2": 2}


def test_another_plane_for_all_images_is_another_prediction_and_stands_on_the_command_line(qtbot, dock, folder):
    (folder / "a.tif").unlink()
    (folder / "b.tif").unlink()
    (folder / "c.tif").unlink()
    open_folder(qtbot, dock, add_stack(folder))
    predict(qtbot, dock)
    assert dock.counts.text() == "1 image: 1 predicted"
    dock.opener.read_as(dock.state.image.options.changed(plane="max", limits=(0, 250)))
    qtbot.waitUntil(lambda: dock.state.image is not None and dock.state.image.options.plane == "max", timeout=60_000)
    settle(qtbot, dock)
    assert dock.counts.text() == "1 image: 1 to do"
    parsed = make_parser().parse_args(dock.results.command()[1:])
    assert reading_of(parsed) == ReadOptions(plane="max", limits=(0, 250))


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


def test_ids_made_without_an_id_file_stay_when_a_broken_image_is_repaired(qtbot, dock, engine, folder, tmp_path):
    engine.behaviour["b"] = "Cannot read b.tif: it is cut off."
    open_folder(qtbot, dock, folder)
    ids = []
    for number in range(2):
        predict(qtbot, dock)
        dock.results.folder.setText(str(tmp_path / f"out{number}"))
        qtbot.waitUntil(lambda: dock.results.write.isEnabled(), timeout=60_000)
        dock.results.write.click()
        qtbot.waitUntil(lambda: not dock.batch.submit_job.is_busy, timeout=60_000)
        entries = read_image_ids(tmp_path / f"out{number}" / "test_image_name_to_ids.json")
        ids.append({entry.file_name: entry.id for entry in entries})
        engine.behaviour.clear()
    assert ids == [{"a.tif": 1, "c.tif": 3}, {"a.tif": 1, "b.tif": 2, "c.tif": 3}]


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


def test_the_command_line_is_the_same_prediction(qtbot, dock, folder, tmp_path):
    ids = ids_beside(folder, "abc")
    open_folder(qtbot, dock, folder)
    dock.device.setCurrentText("cpu")
    dock.pixel_size.setValue(0.25)
    dock.advanced.set_values({"tile": 512, "overlap": 64, "nms": 0.4, "test_time_augmentation": "on"})
    dock.results.folder.setText(str(tmp_path / "my out"))
    dock.results.copy.click()
    program, *arguments = shlex.split(QApplication.clipboard().text())
    parsed = make_parser().parse_args(arguments)
    assert program == "napari-cellseg"
    assert (parsed.images, parsed.out, parsed.ids) == ([folder], tmp_path / "my out", ids)
    model = dock.chosen_model()
    assert prediction_options(parsed, parsed.min_score) == model.options
    assert parsed.pixel_size == model.pixel_size_um == 0.25


@pytest.mark.parametrize(
    "options",
    [
        PredictOptions(),
        PredictOptions(checkpoint=Path("my model.safetensors"), device="cuda:1", batch=4, precision="fp16", scale=1.5),
        PredictOptions(min_score=0.2, nms=0.7, overlap=0),
    ],
)
def test_every_option_has_its_place_on_the_command_line(options):
    _, *arguments = predict_command(options, Path("/images"), Path("/out"))
    parsed = make_parser().parse_args(arguments)
    assert prediction_options(parsed, parsed.min_score) == options

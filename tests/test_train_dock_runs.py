"""Run folders, the history of a run, and the images of a comparison."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import tifffile
from train_window import NAMES, epoch_done, one_run, step_done, tissue_folder
from training_folders import write_sample

from napari_cellseg.classes import ClassTable
from napari_cellseg.events import CheckpointSaved, Message, drive
from napari_cellseg.gui.train.compare import GAINED, LOST, compared_pictures
from napari_cellseg.gui.train.examples import last_examples
from napari_cellseg.gui.train.lines import end_text, progress_of, resource_text, step_text, stopped_text
from napari_cellseg.instances import InstanceMasks
from training.comparison import ImageComparison
from training.history import Curve, RunHistory
from training.past_runs import forget, new_run_folder, unfinished
from training.run_folder import RunFolder
from training.sources import TrainData


@pytest.fixture
def data(tmp_path):
    return TrainData.of_path(tissue_folder(tmp_path, images=1, side=64))


def run_of(data, events, preset="lite"):
    """Write what a run leaves."""
    folder = new_run_folder(data, preset)
    with RunFolder(folder) as files:
        files.config.write_text("epochs: 3\n")
        files.last.write_bytes(b"state")
        for event in events(folder):
            files.log(event)
    return folder


def test_a_run_folder_has_the_name_of_data_and_preset_and_is_new(data):
    first, second = new_run_folder(data, "lite"), new_run_folder(data, "lite")
    assert first != second
    assert first.parent == data.home / ".cellseg" / "runs"
    assert first.name.startswith("train-lite-20")


def test_a_run_that_stopped_is_offered_and_one_that_ended_is_not(data):
    assert unfinished(data.runs) is None
    run_of(data, lambda folder: one_run(folder))
    assert unfinished(data.runs) is None
    stopped = run_of(data, lambda folder: one_run(folder)[:7], "reference")
    past = unfinished(data.runs)
    assert (past.folder, past.data, past.epoch, past.epochs) == (stopped, data.path, 1, 3)
    assert str(past).startswith(f"epoch 1 of 3, stopped {time.strftime('%Y-%m-%d')}")


def test_a_run_that_is_at_work_elsewhere_is_not_offered(data):
    folder = run_of(data, lambda folder: one_run(folder)[:7])
    with RunFolder(folder):
        assert unfinished(data.runs) is None
    assert unfinished(data.runs) is not None


def test_a_forgotten_run_stays_on_disk(data):
    folder = run_of(data, lambda folder: one_run(folder)[:7])
    forget(unfinished(data.runs))
    assert unfinished(data.runs) is None
    assert (folder / "last.pt").exists()


def test_a_damaged_log_is_no_run_to_go_on_with(data):
    folder = run_of(data, lambda folder: one_run(folder)[:7])
    (folder / "events.jsonl").write_bytes(b"\xff\x00 no json\n{}")
    assert unfinished(data.runs) is None


def test_a_long_run_stays_a_line_of_a_thousand_points():
    curve = Curve()
    for i in range(100_000):
        curve.add(i / 100, 5 + i % 2)
    curve.add(math.nan, math.nan)
    assert 500 <= len(curve.x) <= 1000
    assert np.allclose(curve.y, 5.5)
    assert (np.diff(curve.x) > 0).all()


def test_a_history_says_how_far_how_good_and_how_long(tmp_path):
    history = RunHistory(tmp_path)
    events = one_run(tmp_path, epochs=20)
    history.take(events[0])
    history.take(step_done(1, 2))
    told = "Chunk 1/2, step 2/4, 0:41 left in the epoch; about 25 min at most, usually stops earlier"
    assert step_text(history) == told, "in the first epoch already"
    for event in events[1:9]:
        history.take(event)
    assert history.best_text() == "best AP50 0.100 at epoch 1; stops in 10 epochs without improvement"
    history.take(step_done(2, 3))
    assert progress_of(history) == (3, 4, "epoch 2/20")
    assert (
        step_text(history) == "Chunk 1/2, step 3/4, 0:41 left in the epoch; about 4 min at most, usually stops earlier"
    )
    assert resource_text(history, 1024, 24 * 1024) == (
        "RAM 0.9 GB of 24.0 GB, images at most 1.0 GB; 2 images/s; learning rate 0.0003"
    )
    history.take(step_done(2, 4, vram_mib=2048.0))
    assert "VRAM 2.0 GB of 8.0 GB" in resource_text(history, None, 24 * 1024, 8 * 1024)
    history.take(epoch_done(5, 0.05, best=(1, 0.1)))
    assert history.best_text() == "best AP50 0.100 at epoch 1; stops in 6 epochs without improvement"
    history.every = 2
    assert "stops in 12 epochs" in history.best_text(), "patience counts validations, people count epochs"


def test_the_end_is_told_with_the_reason_and_each_class(tmp_path):
    history = RunHistory(tmp_path)
    assert stopped_text(history) == "Stopped (nothing measured yet). Resume continues where the run stopped."
    for event in one_run(tmp_path):
        history.take(event)
    assert end_text(history, ClassTable(NAMES)) == (
        "Finished after 3 epochs: all epochs done. Best epoch 3: AP50 0.300. "
        "AP50: other 0.300, inflammatory 0.310, epithelial 0.320, spindle-shaped 0.330."
    )
    assert stopped_text(history).startswith("Stopped (best and last model kept)")


def test_a_class_that_was_never_measured_is_left_out(tmp_path):
    history = RunHistory(tmp_path)
    assert history.precision_text({"ap50/a": 0.5, "ap50/b": math.nan}, ["a", "b", "c"]) == "a 0.500"


def test_a_resumed_run_goes_on_in_the_same_curves(tmp_path):
    rows = [{"epoch": 1, "train_loss": 2.0, "ap50": 0.2}, {"epoch": 2, "train_loss": 1.0}]
    RunFolder(tmp_path).write_metrics(rows)
    (tmp_path / "best.safetensors").touch()
    history = RunHistory.of_folder(tmp_path)
    assert history.has_model
    assert [row["epoch"] for row in history.rows] == [1, 2]
    assert history.validated["ap50"] == 0.2
    assert history.best_text() == "best AP50 0.200 at epoch 1"
    assert RunHistory.of_folder(tmp_path, monitor="train_loss").best_text() == "best training loss 1.000 at epoch 2"
    (tmp_path / "metrics.csv").write_text("epoch\nnot a number\n")
    assert RunHistory.of_folder(tmp_path).rows == []


def test_warnings_are_in_the_log_as_such(tmp_path):
    history = RunHistory()
    history.take(Message("warning", "Memory ran out."))
    history.take(CheckpointSaved(tmp_path, "last", 1))
    assert history.lines[0].endswith("warning: Memory ran out.")
    assert not history.has_model


def test_the_pictures_of_the_last_epoch_are_the_examples(tmp_path):
    assert last_examples(tmp_path) == (0, [])
    for name in ("epoch0002_a.png", "epoch0010_a.png", "epoch0010_b.png", "notes.txt"):
        (tmp_path / "examples").mkdir(exist_ok=True)
        (tmp_path / "examples" / name).touch()
    epoch, paths = last_examples(tmp_path)
    assert (epoch, [path.name for path in paths]) == (10, ["epoch0010_a.png", "epoch0010_b.png"])


def test_gained_and_lost_cells_are_filled_in_their_colours(tmp_path):
    write_sample(tmp_path / "a", {1: np.zeros((40, 50))})
    grey = np.full((40, 50, 3), 100, np.uint8)
    tifffile.imwrite(tmp_path / "a" / "image.tif", grey, photometric="rgb")
    mask = np.ones((6, 6), bool)
    truth = InstanceMasks.from_crops((40, 50), [(2, 2), (2, 20)], [mask, mask], [1, 1])
    nothing = np.zeros(0, np.intp)
    image = ImageComparison(
        image_id="a",
        truth=truth,
        old=truth.select([0]),
        new=truth.select([1]),
        gained=np.array([1]),
        lost=np.array([0]),
        old_false=nothing,
        new_false=nothing,
    )
    old, new = drive(compared_pictures(tmp_path, image, ClassTable(("x",))))
    (y0, x0), (y1, x1) = ((box[1] + 3, box[0] + 3) for box in truth.boxes.tolist())
    assert np.argmax(new[y1, x1]) == np.argmax(GAINED)
    assert np.argmax(old[y0, x0]) == np.argmax(LOST)
    assert (old[y1, x1] == 100).all()
    assert (new[y0, x0] == 100).all()


def test_the_examples_leave_with_the_image(qtbot, make_napari_viewer, tmp_path):
    import numpy as np
    from PIL import Image as Picture

    from napari_cellseg.gui.state import AppState
    from napari_cellseg.gui.train.examples import ExampleLayer

    (tmp_path / "examples").mkdir()
    Picture.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "examples" / "epoch3_a.png")
    viewer = make_napari_viewer()
    state = AppState(viewer)
    examples = ExampleLayer(state)
    examples.show(tmp_path)
    qtbot.waitUntil(lambda: examples.is_shown, timeout=30_000)
    state.set_current(None, None, None)
    assert not examples.is_shown
    assert not any(layer.visible for layer in viewer.layers)
    state.close()

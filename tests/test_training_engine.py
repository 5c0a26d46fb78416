from __future__ import annotations

import csv
import errno
import json
import math
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from training_setup import run, run_until, tiny_config, tissue

from napari_cellseg.errors import AnnotationError, TrainingError
from napari_cellseg.events import (
    CheckpointSaved,
    EpochDone,
    Message,
    RunFinished,
    RunStarted,
    StepDone,
    StopReason,
    TrainEvent,
    ValidationStep,
)
from napari_cellseg.model.checkpoint import load_checkpoint, read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import choose_device
from napari_cellseg.model.inference.predictor import Predictor
from training import records
from training.augment import Augmentation
from training.config import TrainConfig
from training.dataset import find_samples, read_sample
from training.engine import train
from training.prepare import first_network
from training.resume import read_state

CONFIG = tiny_config()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tissue(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrainEvent]]:
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, run(CONFIG, data, folder)


def of_type(events: list[TrainEvent], kind: type) -> list[TrainEvent]:
    return [event for event in events if isinstance(event, kind)]


def test_time_in_which_the_run_was_paused_is_no_working_time(data: Path, tmp_path: Path) -> None:
    events = train(CONFIG, data, tmp_path / "run")
    steps = []
    for event in events:
        if isinstance(event, StepDone):
            steps.append(event)
            if len(steps) == 2:
                break
            time.sleep(2)  # as a pause does
    events.close()

    assert steps[1].images_per_s > 1 / 2
    assert steps[1].seconds_left < 2


def test_a_run_reports_every_step_epoch_and_file(finished) -> None:
    _, events = finished
    started = of_type(events, RunStarted)[0]
    assert (started.train_images, started.validation_images, started.epochs) == (3, 1, 2)
    assert started.train_cells > 20
    assert started.device == "cpu"
    steps = of_type(events, StepDone)
    assert [(e.epoch, e.chunk, e.step, e.steps) for e in steps] == [
        (epoch, chunk, step, 3) for epoch in (1, 2) for chunk, step in ((1, 1), (1, 2), (2, 3))
    ]
    for event in steps:
        parts = {name: value for name, value in event.losses.items() if name != "loss"}
        assert len(parts) == 6
        assert event.losses["loss"] == pytest.approx(sum(parts.values()), rel=1e-5)
        assert event.ram_mib > 50
    assert {e.image for e in of_type(events, ValidationStep)} == {1}
    assert [e.epoch for e in of_type(events, EpochDone)] == [1, 2]
    assert {e.path.name for e in of_type(events, CheckpointSaved)} >= {"last.pt"}
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason is StopReason.FINISHED


def test_the_run_folder_holds_the_whole_story(finished) -> None:
    folder, events = finished
    assert TrainConfig.load(folder / "config.yaml") == CONFIG
    split = json.loads((folder / "split.json").read_text())
    assert len(split["train"]) == 3
    assert not set(split["train"]) & set(split["validation"])
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = of_type(events, EpochDone)
    assert [float(row["train_loss"]) for row in rows] == pytest.approx([e.losses["loss"] for e in epochs], rel=1e-5)
    assert [float(row["val_loss"]) for row in rows] == pytest.approx([e.metrics["val_loss"] for e in epochs], rel=1e-5)
    assert {"ap50", "ap50/epithelial", "pq", "aji", "learning_rate", "seconds"} <= rows[0].keys()
    logged = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in logged if line["event"] == "StepDone"] == ["StepDone"] * 6
    for name in ("losses.png", "average_precision.png"):
        assert Picture.open(folder / name).size == (1000, 450)
    examples = sorted((folder / "examples").iterdir())
    assert [path.name[:9] for path in examples] == ["epoch0001", "epoch0002"]
    assert Picture.open(examples[0]).size == (2 * 128 + 8, 128)


def test_the_best_model_says_what_it_is_and_predicts(finished, data: Path) -> None:
    folder, _ = finished
    header = read_header(folder / "best.safetensors")
    assert header.classes == CONFIG.classes
    assert len(header.thresholds) == 4
    assert header.provenance["train_images"] == 3
    assert header.provenance["seed"] == CONFIG.seed
    assert header.provenance["versions"]["torch"]
    assert 0 <= header.metrics["ap50"] <= 1
    model, header = load_checkpoint(folder / "best.safetensors")
    image = read_sample(find_samples(data).samples[0])
    tiles = Predictor(model, header, choose_device("cpu"), PredictOptions()).image(image.rgb)
    assert [tile.tile for tile in tiles] == [1, 2, 3, 4], "four views of one tile"


def test_two_runs_with_one_seed_are_the_same_and_with_another_are_not(finished, data: Path, tmp_path: Path) -> None:
    losses = [[e.losses["loss"] for e in of_type(finished[1], StepDone)]]
    for seed in (0, 1):
        config = CONFIG.with_changes(seed=seed, epochs=1)
        events = run_until(lambda e: isinstance(e, StepDone), config, data, tmp_path / str(seed))
        losses.append([e.losses["loss"] for e in of_type(events, StepDone)])
    assert losses[1][0] == losses[0][0]
    assert losses[2][0] != losses[0][0]


def test_a_folder_in_use_or_taken_is_refused(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = train(CONFIG, data, folder)
    assert isinstance(next(e for e in events if isinstance(e, RunStarted)), RunStarted)
    with pytest.raises(TrainingError, match="Another process"):
        run(CONFIG, data, folder)
    next(events)
    events.close()
    with pytest.raises(TrainingError, match="already holds a run"):
        run(CONFIG, data, folder)


def test_closing_stops_the_threads_and_saves_the_step(data: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    run_until(lambda e: isinstance(e, StepDone), CONFIG, data, tmp_path / "run")
    assert read_state(tmp_path / "run" / "last.pt")["progress"]["step"] == 1
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("reader")]
    assert not left


def test_training_stops_when_nothing_improves(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "plot_run", lambda *_: None)
    config = CONFIG.with_changes(
        epochs=9, stopping__patience=2, stopping__monitor="train_loss", stopping__min_delta=1e3
    )
    events = run(config, data, tmp_path / "run")
    epochs = of_type(events, EpochDone)
    assert [e.stops_in for e in epochs] == [2, 1, 0]
    assert [e.is_best for e in epochs] == [True, False, False]
    assert (events[-1].reason, events[-1].best_epoch) == (StopReason.NO_IMPROVEMENT, 1)


def test_a_metric_that_cannot_be_measured_never_wins_and_the_last_model_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "plot_run", lambda *_: None)
    data = tissue(tmp_path / "data", images=3)
    config = CONFIG.with_changes(epochs=1)
    run_until(lambda e: isinstance(e, RunStarted), config, data, tmp_path / "run")
    for image_id in json.loads((tmp_path / "run" / "split.json").read_text())["validation"]:
        for path in (data / "train" / image_id).glob("class*.tif"):
            path.unlink()
    events = run(config, data, tmp_path / "run", resume=True)
    assert math.isnan(of_type(events, EpochDone)[0].metrics["ap50"])
    assert events[-1].best_epoch == 0
    assert any("never measured" in e.text for e in of_type(events, Message))
    assert read_header(tmp_path / "run" / "best.safetensors").thresholds is None


def test_images_without_cells_train_and_validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "plot_run", lambda *_: None)
    data = tissue(tmp_path / "data")
    for path in (data / "train" / "tissue_02").glob("class*.tif"):
        path.unlink()
    events = run(CONFIG.with_changes(epochs=1), data, tmp_path / "run")
    assert np.isfinite([e.losses["loss"] for e in of_type(events, StepDone)]).all()


def test_wrong_data_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = tissue(tmp_path / "data", images=2)
    (data / "train" / "tissue_01" / "image.tif").write_text("no image")
    with pytest.raises(TrainingError, match="tissue_01"):
        run(CONFIG, data, tmp_path / "run")
    with pytest.raises(AnnotationError):
        run(CONFIG, tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_pixels_that_cannot_be_written_train_and_predict(data: Path) -> None:
    """An uncompressed TIFF is a read-only memory map, of which torch warns."""
    image = read_sample(find_samples(data).samples[0])
    image.rgb.flags.writeable = False
    rgb, _ = Augmentation.of(CONFIG.augment.model_copy(update={"crop": None}), CONFIG.model)(image, 0)
    assert rgb.shape[0] == 3
    predictor = Predictor(first_network(CONFIG).eval(), None, choose_device("cpu"), PredictOptions())
    assert [tile.tile for tile in predictor.image(image.rgb)] == [1, 2, 3, 4], "four views of one tile"


def test_a_full_disk_is_one_clear_error_and_leaves_the_last_state(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    events = train(CONFIG, data, folder)
    next(event for event in events if isinstance(event, RunStarted))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(records, "write_state", full)
    with pytest.raises(TrainingError, match=r"run.*cannot be written: No space left on device"):
        list(events)
    assert read_state(folder / "last.pt")["progress"]["step"] == 0

"""A training with a time limit: it stops in time, validates, keeps a model, and counts on when it is resumed."""

from __future__ import annotations

from collections.abc import Generator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from training_setup import run, run_until, tiny_config, tissue

from napari_cellseg.events import EpochDone, Message, StepDone, StopReason, TrainEvent, ValidationStep
from training import engine, records, work_time
from training.distributed import make_fabric
from training.resume import Progress, read_state
from training.work_time import WorkTime

CONFIG = tiny_config(max_minutes=1, optimizer__schedule="constant")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tissue(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def a_step_of_40_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock take 20 s: a step takes 40 s, a validation 60 s."""
    monkeypatch.setattr(records, "plot_run", lambda *_: None)
    ticks = count(0, 20)
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(engine, "time", clock)
    monkeypatch.setattr(work_time, "time", clock)


def steps_of(events: list[TrainEvent]) -> list[tuple[int, int]]:
    return [(event.epoch, event.step) for event in events if isinstance(event, StepDone)]


def test_less_than_an_epoch_is_validated_and_leaves_a_model(data: Path, tmp_path: Path) -> None:
    events = run(CONFIG, data, tmp_path / "run")
    assert steps_of(events) == [(1, 1), (1, 2)]
    assert events[-1].reason is StopReason.MAX_MINUTES
    assert [event.metrics["ap50"] >= 0 for event in events if isinstance(event, EpochDone)] == [True]
    assert events[-1].checkpoint == tmp_path / "run" / "best.safetensors"
    assert events[-1].checkpoint.exists()
    assert read_state(tmp_path / "run" / "last.pt")["progress"]["ended"] == "MAX_MINUTES"


def test_without_a_validation_set_a_model_is_kept_too(data: Path, tmp_path: Path) -> None:
    config = CONFIG.with_changes(data__validation_fraction=0, stopping__monitor="train_loss")
    events = run(config, data, tmp_path / "run")
    assert len(steps_of(events)) == 2
    assert events[-1].checkpoint is not None


def test_a_limit_reached_in_a_validation_ends_the_run_after_it(data: Path, tmp_path: Path) -> None:
    events = run(CONFIG.with_changes(max_minutes=2.5), data, tmp_path / "run")  # 150 s: 120 of steps, then the image
    assert steps_of(events) == [(1, 1), (1, 2), (1, 3)]
    assert sum(isinstance(event, EpochDone) for event in events) == 1
    assert (events[-1].reason, events[-1].epochs) == (StopReason.MAX_MINUTES, 1)


def test_the_last_validation_is_announced_with_the_time_of_the_previous_one(data: Path, tmp_path: Path) -> None:
    events = run(CONFIG.with_changes(max_minutes=3.5), data, tmp_path / "run")  # 180 s for the first epoch
    assert steps_of(events)[-1] == (2, 1)
    (told,) = [event.text for event in events if isinstance(event, Message) and "time limit" in event.text]
    assert told == "The time limit of 3.5 min is reached. The last validation takes about 60 s."


def test_a_resumed_run_keeps_the_used_time_and_may_get_more(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_until(lambda event: isinstance(event, StepDone), CONFIG, data, folder)
    events = run(CONFIG, data, folder, resume=True)
    assert steps_of(events) == [(1, 2)]
    assert events[-1].reason is StopReason.MAX_MINUTES
    assert steps_of(run(CONFIG, data, folder, resume=True)) == []
    more = run(CONFIG.with_changes(max_minutes=60), data, folder, resume=True)
    assert steps_of(more) == [(1, 3), (2, 1), (2, 2), (2, 3)]
    assert more[-1].reason is StopReason.FINISHED


def test_without_a_limit_nothing_stops_the_run(data: Path, tmp_path: Path) -> None:
    assert run(CONFIG.with_changes(max_minutes=None), data, tmp_path / "run")[-1].reason is StopReason.FINISHED


def test_a_first_validation_is_estimated_from_its_first_image() -> None:
    def images() -> Generator[ValidationStep, None, None]:
        for image in (1, 2, 3):
            yield ValidationStep(1, image, 3)

    progress = Progress(run_seconds=60.0)
    steps = WorkTime(1, progress, make_fabric(CONFIG)[0]).timed(images())  # type: ignore[arg-type]
    seen = list(steps)
    assert [type(event) for event in seen] == [ValidationStep, Message, ValidationStep, ValidationStep]
    assert seen[1].text.endswith("takes about 2 min.")  # 40 s for the first image and the way to the second
    assert progress.validation_seconds == 80

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shares import some_by_default
from training_setup import largest_difference, run, run_until, tiny_config, tissue

from napari_cellseg.errors import CheckpointError, ConfigError, TrainingError
from napari_cellseg.events import EpochDone, RunFinished, StepDone, StopReason, TrainEvent, ValidationStep
from training import prepare, records
from training.early_stopping import EarlyStopping
from training.resume import random_state, read_state, set_random_state, write_state
from training.run_folder import RunFolder

CONFIG = tiny_config()


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the plots, which take most of the time of so small a run; other tests check them."""
    monkeypatch.setattr(records, "plot_run", lambda *_: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tissue(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(CONFIG, data, folder)
    return folder


def at_step(epoch: int, step: int) -> Callable[[TrainEvent], bool]:
    return lambda event: isinstance(event, StepDone) and (event.epoch, event.step) == (epoch, step)


STOPS = {
    "mid-chunk": at_step(1, 1),
    "chunk end": at_step(1, 2),
    "last step of an epoch": at_step(1, 3),
    "in validation": lambda event: isinstance(event, ValidationStep),
    "after validation": lambda event: isinstance(event, EpochDone),
}


@pytest.mark.parametrize("stop", some_by_default(STOPS, "mid-chunk", "in validation"))
def test_a_stopped_run_goes_on_bit_for_bit(stop: str, data: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_until(STOPS[stop], CONFIG, data, folder)
    events = run(CONFIG, data, folder, resume=True)
    assert isinstance(events[-1], RunFinished)
    assert largest_difference(whole, folder) == 0
    without_time = [[{**row, "seconds": 0} for row in RunFolder(path).read_metrics()] for path in (whole, folder)]
    assert without_time[0] == without_time[1]


def test_without_the_random_state_the_weights_differ(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    run_until(STOPS["mid-chunk"], CONFIG, data, folder)
    monkeypatch.setattr(prepare, "set_random_state", lambda _: None)
    run(CONFIG, data, folder, resume=True)
    assert largest_difference(whole, folder) > 1e-6


@pytest.mark.slow
def test_a_run_stopped_again_and_again_still_ends_the_same(data: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for number, (epoch, step) in enumerate([(1, 1), (2, 2)]):
        run_until(at_step(epoch, step), CONFIG, data, folder, resume=number > 0)
    run(CONFIG, data, folder, resume=True)
    assert largest_difference(whole, folder) == 0


def test_a_finished_run_goes_on_with_more_epochs(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(CONFIG.with_changes(epochs=1, optimizer__schedule="constant"), data, folder)
    again = run(CONFIG.with_changes(epochs=1, optimizer__schedule="constant"), data, folder, resume=True)
    assert not any(isinstance(event, StepDone) for event in again)
    more = run(CONFIG.with_changes(epochs=2, optimizer__schedule="constant"), data, folder, resume=True)
    assert {event.epoch for event in more if isinstance(event, StepDone)} == {2}
    assert more[-1].reason is StopReason.FINISHED


def test_a_run_at_its_step_limit_goes_on_from_the_middle_of_the_epoch(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = run(CONFIG.with_changes(max_steps=2, validation__every=1, optimizer__schedule="constant"), data, folder)
    assert events[-1].reason is StopReason.MAX_STEPS
    assert sum(isinstance(event, EpochDone) for event in events) == 1
    again = run(CONFIG.with_changes(max_steps=2, optimizer__schedule="constant"), data, folder, resume=True)
    assert [e.epochs_without_improvement for e in again if isinstance(e, EpochDone)] == [0]
    more = run(CONFIG.with_changes(optimizer__schedule="constant"), data, folder, resume=True)
    assert [(e.epoch, e.step) for e in more if isinstance(e, StepDone)] == [(1, 3), (2, 1), (2, 2), (2, 3)]
    assert [row["epoch"] for row in RunFolder(folder).read_metrics()] == [1, 2]


@pytest.mark.slow
def test_a_run_that_gave_up_tries_again(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    hopeless = CONFIG.with_changes(epochs=5, stopping__patience=1, stopping__min_delta=1.0)
    events = run(hopeless, data, folder)
    assert events[-1].reason is StopReason.NO_IMPROVEMENT
    epochs = events[-1].epochs
    more = run_until(at_step(epochs + 1, 1), hopeless, data, folder, resume=True)
    assert isinstance(more[-1], StepDone)


def test_only_some_settings_may_change_for_a_resume(data: Path, whole: Path) -> None:
    with pytest.raises(ConfigError, match=r"must not change: optimizer\.learning_rate\."):
        run(CONFIG.with_changes(optimizer__learning_rate=1e-5), data, whole, resume=True)


def test_images_that_are_gone_are_named(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not in"):
        run(CONFIG, tissue(tmp_path / "fewer", images=2), whole, resume=True)


def test_nothing_to_resume_from(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run(CONFIG, data, tmp_path / "run", resume=True)


def test_a_damaged_state_is_refused(whole: Path, tmp_path: Path) -> None:
    content = bytearray((whole / "last.pt").read_bytes())
    for name, damaged in {
        "cut.pt": content[: len(content) // 2],
        "flipped.pt": content[: len(content) // 2]
        + bytes([content[len(content) // 2] ^ 4])
        + content[len(content) // 2 + 1 :],
        "other.pt": b"hello",
    }.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=name):
            read_state(tmp_path / name)


def test_random_generators_come_back() -> None:
    import random

    import numpy as np

    state = random_state()
    before = (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random())  # noqa: NPY002
    set_random_state(state)
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == before  # noqa: NPY002


def test_state_is_plain_enough_for_weights_only(tmp_path: Path) -> None:
    stopping = EarlyStopping()
    stopping.update(1, 0.5)
    write_state(
        tmp_path / "s.pt",
        {"random": random_state(), "stopping": stopping.state_dict(), "half": torch.ones(3).bfloat16()},
    )
    assert read_state(tmp_path / "s.pt")["stopping"]["best_value"] == 0.5

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from shares import some_by_default
from training_setup import run_until, tiny_config, tissue

from napari_cellseg.events import EpochDone, StepDone, TrainEvent, ValidationStep
from training import records
from training.event_log import drop_repeated

CONFIG = tiny_config()
STOPS = {
    "in an epoch": lambda event: isinstance(event, StepDone) and (event.epoch, event.step) == (1, 1),
    "before a validation": lambda event: isinstance(event, StepDone) and (event.epoch, event.step) == (1, 3),
    "in a validation": lambda event: isinstance(event, ValidationStep),
    "after an epoch": lambda event: isinstance(event, EpochDone),
}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "plot_run", lambda *_: None)


def logged(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def places(folder: Path) -> Counter[tuple[object, ...]]:
    """Count the events that occur once per epoch: its steps and its end."""
    return Counter(
        (event["event"], event["epoch"], event.get("step"))
        for event in logged(folder)
        if event["event"] in ("StepDone", "EpochDone")
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tissue(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("stop", some_by_default(STOPS, "in an epoch", "in a validation"))
def test_a_run_that_was_killed_after_its_last_state_logs_each_step_once(stop: str, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_until(STOPS[stop], CONFIG, data, folder)
    state = (folder / "last.pt").read_bytes()

    def is_later(event: TrainEvent) -> bool:
        return isinstance(event, StepDone) and (event.epoch, event.step) == (2, 1)

    run_until(is_later, CONFIG, data, folder, resume=True)
    (folder / "last.pt").write_bytes(state)  # as if the process was killed now, before it saved another state
    run_until(is_later, CONFIG, data, folder, resume=True)

    steps = [("StepDone", 1, step) for step in (1, 2, 3)] + [("StepDone", 2, 1)]
    assert places(folder) == Counter([*steps, ("EpochDone", 1, None)])
    assert [event["event"] for event in logged(folder)].count("RunStarted") == 3


def test_lines_that_are_no_events_stay(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    lines = [
        '{"event": "RunStarted", "first_epoch": 1}',
        '{"event": "StepDone", "epoch": 1, "step": 2}',
        '{"event": "StepDone", "epoch": 2, "step": 1}',
        '{"event": "Message", "text": "epoch"}',
        "[1]",
        '{"event": "StepDone", "epo',
    ]
    log.write_text("\n".join(lines))
    assert drop_repeated(log, 1, 2) == 1
    assert log.read_text().splitlines() == [line for line in lines if '"epoch": 2' not in line]
    assert list(tmp_path.iterdir()) == [log]  # the program wrote it, so there is no .bak
    assert drop_repeated(log, 1, 2) == 0
    assert drop_repeated(tmp_path / "missing", 1, 2) == 0

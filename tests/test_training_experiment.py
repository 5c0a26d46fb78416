from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image as Picture
from training_setup import tiny_config, tissue

from napari_cellseg.errors import ConfigError
from napari_cellseg.events import Message, StepDone, TrainEvent
from training.experiment import Result, experiment, grid, table


def drain(events, stop_after: int | None = None) -> tuple[list[TrainEvent], tuple[Result, ...]]:
    seen: list[TrainEvent] = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value
        if stop_after is not None and sum(isinstance(event, StepDone) for event in seen) == stop_after:
            events.close()
            return seen, ()


def test_a_grid_is_every_combination() -> None:
    variants = grid({"model.backbone.name": ["a/b", "c"], "augment.enabled": [True, False]})
    assert [variant.name for variant in variants][1] == "name=a/b, enabled=False"
    assert [variant.folder_name for variant in variants][1] == "name=a_b,_enabled=False"
    assert len(variants) == 4
    for wrong in ({}, {"epochs": []}, {"epochs": [1, 1]}):
        with pytest.raises(ConfigError):
            grid(wrong)


def test_an_experiment_goes_on_where_it_stopped_and_tabulates(tmp_path: Path) -> None:
    data, folder = tissue(tmp_path / "data", images=3), tmp_path / "experiment"
    config = tiny_config(epochs=1, data__validation_fraction=0.34, data__chunks=1)
    variants = grid({"augment.enabled": [True, False]})
    first, _ = drain(experiment(config, variants, data, folder), stop_after=3)
    second, results = drain(experiment(config, variants, data, folder))
    assert sum(isinstance(event, StepDone) for event in [*first, *second]) == 4  # two steps each, none twice
    assert "already trained" in next(event.text for event in second if isinstance(event, Message))
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["augment.enabled"] for row in rows] == ["True", "False"]
    assert [float(row["val_loss"]) for row in rows] == [result.metrics["val_loss"] for result in results]
    assert table(results) + "\n" == (folder / "results.txt").read_text()
    assert Picture.open(folder / "curves.png").size == (1500, 450)
    losses = [event.losses["loss"] for event in [*first, *second] if isinstance(event, StepDone)]
    assert losses[0] != losses[2]  # augmentation on and off see other pixels


def test_wrong_settings_are_found_before_the_first_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        next(experiment(tiny_config(), grid({"epochs": [1, -5]}), tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()

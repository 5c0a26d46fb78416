"""Epochs in MLflow: its own client reads them back from a local store."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest

from training.mlflow_log import MlflowLog
from training.run_folder import RunFolder

SETTINGS = {"epochs": 3, "optimizer": {"learning_rate": 5e-5}}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # else a server or a database
    return mlflow.MlflowClient()


def write(folder: Path, epochs: range) -> None:
    log = MlflowLog(RunFolder(folder), SETTINGS)
    for epoch in epochs:
        log.epoch({"train_loss": 1 / epoch, "ap50": math.nan if epoch == 1 else 0.5}, epoch)
    log.close()


def test_a_run_and_its_resume_are_one_run_with_settings_and_epochs(client: Any, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    write(tmp_path / "first", range(1, 3))
    write(tmp_path / "first", range(3, 4))
    (experiment,) = [each for each in client.search_experiments() if each.name == "napari-cellseg"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params == {"epochs": "3", "optimizer.learning_rate": "5e-05"}
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in losses] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "ap50")] == [2, 3]


@pytest.mark.usefixtures("client")
def test_a_store_that_cannot_be_written_is_told_once_and_training_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "file").as_uri())
    with caplog.at_level(logging.WARNING, "training"):
        write(tmp_path / "run", range(1, 4))
    told = [record.getMessage() for record in caplog.records if record.name == "training.mlflow_log"]
    assert len(told) == 1
    assert "gets no more epochs of this run" in told[0]


def test_without_the_variable_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write(tmp_path, range(1, 2))
    assert list(tmp_path.iterdir()) == []

"""The window is closed while a real training, a real prediction or a slow save runs: no edit is lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from closing_window import Answers, Window, keep_apart, make_folder, open_windows, status_on_disk, wait
from training_settings import tiny_config, tissue

from napari_cellseg.events import StepDone
from napari_cellseg.gui.train.run import Plan
from napari_cellseg.model.bundled import bundled
from napari_cellseg.review import Status
from training.run_folder import RunFolder

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_apart(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.fixture
def windows(qapp: Any) -> Iterator[Callable[[Path], Window]]:  # noqa: ARG001 - windows need an application
    with open_windows() as make:
        yield make


def close(window: Window, *, says: str) -> None:
    """Close as Ctrl+W does, and answer that what runs may stop."""
    answers = Answers("Close")
    window.ask_to_close()
    answers.stop()
    assert len(answers.asked) == 1
    assert says in answers.asked[0]
    assert window.is_closed


def test_closing_during_a_real_training_saves_the_edits_and_the_run(windows, folder, tmp_path):
    window, events = windows(folder), []
    training = window.plugin.training
    training.job.reported.connect(events.append)
    training.start(Plan(tiny_config(epochs=1000), tissue(tmp_path / "data"), tmp_path / "run"))
    wait(lambda: any(isinstance(event, StepDone) for event in events), 240)
    window.accept(1)
    engine = psutil.Process(training.engine.process_id)

    close(window, says="stops; it can be resumed.")
    assert status_on_disk(folder, 1) is Status.ACCEPTED
    assert not training.job.is_busy
    wait(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE)
    with RunFolder(tmp_path / "run") as run:  # its lock is free
        assert run.last.stat().st_size > 1_000_000, "the state from which the run is resumed"


@pytest.mark.parametrize("when", ["starting", "engine runs"])
def test_closing_during_a_real_prediction_saves_the_edits(windows, folder, when):
    window = windows(folder)
    _, dock = window.viewer.window.add_plugin_dock_widget("napari-cellseg", "Segment")
    window.state.set_model(bundled())
    segmentation = window.plugin.segmentation
    window.accept(1)
    wait(dock.button.isEnabled)
    dock.button.click()
    wait(lambda: segmentation.job.is_busy)
    if when == "engine runs":
        wait(lambda: segmentation.engine.process_id is not None, 240)
    close(window, says="Segmenting stops.")
    assert not segmentation.job.is_busy
    assert status_on_disk(folder, 1) is Status.ACCEPTED


@pytest.mark.parametrize("by_key", [True, False])
def test_closing_while_a_slow_disk_writes_loses_no_edit(windows, folder, monkeypatch, by_key):
    window, fsync = windows(folder), os.fsync
    writing = threading.Event()

    def slow(descriptor: int) -> None:
        writing.set()
        time.sleep(0.4)
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", slow)
        window.accept(1)
        wait(writing.is_set)  # the journal is in the middle of its write
        window.accept(2)
        if by_key:
            from qtpy.QtCore import QTimer

            QTimer.singleShot(0, window.ask_to_close)  # comes while the save below blocks the window
            window.plugin.opener.save()
            wait(lambda: window.is_closed)
        else:
            window.viewer.close()
    assert window.is_closed
    assert [status_on_disk(folder, i) for i in (1, 2)] == [Status.ACCEPTED] * 2
    assert not (folder / ".cellseg" / "lock.json").exists()

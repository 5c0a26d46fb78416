"""The dock *Batch* over a fake engine, for its tests."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.events import ImageDone, ImageFailed, Message, ModelReady, PredictSummary, TileDone
from napari_cellseg.gui import docks
from napari_cellseg.gui.batch.dock import BatchDock
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.inference.predict_item import PredictItem

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


def make_folder(folder: Path, names: str) -> Path:
    folder.mkdir()
    for name in names:
        tifffile.imwrite(folder / f"{name}.tif", RGB, photometric="rgb")
    return folder


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


def tiles_folder(tmp_path: Path) -> Path:
    """Return a folder of three images; make a fixture of it."""
    return make_folder(tmp_path / "tiles", "abc")


def fake_engine() -> FakeEngine:
    """Return the engine of `batch_dock`; make the fixture ``engine`` of it."""
    return FakeEngine()


def batch_dock(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, open_dock: Any) -> BatchDock:
    """Open the dock over a fake engine; make a fixture of it."""
    dock = open_dock(docks.Batch)
    monkeypatch.setattr(type(dock.model), "header", HEADER)
    monkeypatch.setattr(dock.batch.engine, "run", engine.run)
    return dock

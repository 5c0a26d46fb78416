"""The dock *Segment* without an engine process, for its tests."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.events import ImageDone, ModelReady, PredictSummary, TileDone
from napari_cellseg.gui import docks
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import ModelConfig

RGB, TRUTH = generate_tissue((128, 128), 16)
FOUND = replace(TRUTH, scores=np.linspace(0.9, 0.2, len(TRUTH), dtype=np.float32))
READY = ModelReady(
    model_name="lite",
    class_names=TISSUE_CLASSES.names,
    device="cpu",
    reason="auto: CPU, no CUDA device found",
    seconds=0.1,
)


def answer(events, *, wait_s=0.0):
    """Replace the engine process, which has its own tests: yield these events."""

    def run(task):
        assert isinstance(task, Predict)
        run.calls.append(task)
        for event in events:
            time.sleep(wait_s)
            yield event
        return PredictSummary(1, 0, len(FOUND), 0.1)

    run.calls = []
    return run


GOOD = (
    READY,
    TileDone(image=1, images=1, tile=1, tiles=2, cells=5),
    TileDone(image=1, images=1, tile=2, tiles=2, cells=9),
    ImageDone(image=1, images=1, image_id="tissue", instances=FOUND, seconds=1.5),
)


CONFIG = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(pixel_size_um=0.25)


def segment(qtbot, dock, run):
    dock.segmentation.engine.run = run
    dock.button.click()
    qtbot.waitUntil(lambda: not dock.segmentation.job.is_busy, timeout=60_000)


def segment_dock(monkeypatch: pytest.MonkeyPatch, open_dock: Any) -> Any:
    """Open the dock with a model; make a fixture of it."""
    dock = open_dock(docks.Segment)
    header = CheckpointHeader(name="lite", config=CONFIG, thresholds=(0.5, 0.4, 0.3, 0.2))
    monkeypatch.setattr(type(dock.model), "header", header)
    dock._on_model()
    return dock


def shown_image(dock: Any, viewer: Any) -> Any:
    """Put an image on the canvas, for `segment_dock`; make the fixture ``image`` of it."""
    layer = viewer.add_image(RGB, name="tissue", rgb=True)
    dock.opener.show_pixels(layer)
    return layer

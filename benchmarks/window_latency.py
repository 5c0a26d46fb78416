"""How smooth the window stays during a prediction, and how soon Stop stops it: engine process against a plain thread.

A timer of 5 ms in the window's thread stands for a window in use; its delay is the delay that a user feels. The
plain way is the usual one of plugins: the same generator in a thread of the viewer's process. It is stopped
between two tiles.

    python benchmarks/window_latency.py [--seconds 8] [--size 512]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import torch
from napari.components import ViewerModel
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.tasks import TASKS, Predict, Run, TaskRunner
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.state import AppState
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue
from napari_cellseg.model.checkpoint import save_checkpoint
from napari_cellseg.model.config import ModelConfig, PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.network.build import build_model

INTERVAL_MS = 5


class Lateness:
    """Records how late a timer of the window's thread is, ms."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._last = time.perf_counter()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.setInterval(INTERVAL_MS)
        self.timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.values.append((now - self._last) * 1000 - INTERVAL_MS)
        self._last = now

    def start(self) -> None:  # noqa: D102
        self.values, self._last = [], time.perf_counter()
        self.timer.start()

    def __str__(self) -> str:
        p50, p95, p99 = np.percentile(self.values, [50, 95, 99])
        return f"late p50 {p50:6.1f}   p95 {p95:6.1f}   p99 {p99:7.1f}   max {max(self.values):7.1f} ms"


def spin(application: QApplication, until: Callable[[], bool], limit_s: float) -> None:
    end = time.perf_counter() + limit_s
    while not until() and time.perf_counter() < end:
        application.processEvents()
        time.sleep(0.0005)


def measure(name: str, run: Run, task: Predict, seconds: float) -> None:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    viewer = ViewerModel()
    job = Job(AppState(viewer), name)
    tiles: list[Any] = []
    job.reported.connect(tiles.append)
    job.start(lambda: task.on(run))
    spin(application, lambda: bool(tiles) or not job.is_busy, 600)
    late = Lateness()
    late.start()
    spin(application, lambda: not job.is_busy, seconds)
    late.timer.stop()
    begin = time.perf_counter()
    job.stop()
    spin(application, lambda: not job.is_busy, 600)
    stopped = "" if job.state is not JobState.STOPPED else f"   stopped in {time.perf_counter() - begin:5.2f} s"
    print(f"{name:16} {late}{stopped}  {job.error or ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    application = QApplication(sys.argv[:1])
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.safetensors"
        few = {"detection__per_image": 100, "detection__min_score": 0.0}
        save_checkpoint(checkpoint, build_model(ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(**few)))
        items = [PredictItem(str(i), generate_tissue((options.size,) * 2, 100)[0]) for i in range(20)]
        task = Predict(items, PredictOptions(checkpoint=checkpoint))
        idle = Lateness()
        idle.start()
        spin(application, lambda: False, options.seconds)
        idle.timer.stop()
        print(f"{torch.get_num_threads()} threads of torch, load of this machine {os.getloadavg()[0]:.1f}")
        print(f"{'idle':16} {idle}")
        client = EngineClient()
        measure("engine process", client.run, task, options.seconds)
        client.shutdown()
        measure("plain thread", TaskRunner(TASKS).run, task, options.seconds)


if __name__ == "__main__":
    main()

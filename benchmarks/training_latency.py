"""How smooth the window stays during a training on the CPU, and how soon Stop stops it in each stage.

A timer of 5 ms in the window's thread stands for a window in use; its delay is the delay that a user feels. The
plain way is the usual one of plugins: the same generator in a thread of the viewer's process. The goals: the 99th
percentile at most 20 ms above that of the idle window in the same run; Stop felt within 0.1 s, done within 2 s.

    python benchmarks/training_latency.py [--seconds 20] [--preset lite] [--crop 512] [--limit 480]
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

import psutil
import torch
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication
from window_latency import Lateness, spin

from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.tasks import TASKS, Compare, Report, Run, Task, TaskRunner, Train
from napari_cellseg.events import CheckpointSaved, RunStarted, StepDone, ValidationStep
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.state import AppState
from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.presets import PRESETS
from training.comparison import ComparisonStep
from training.config import TrainConfig
from training.report import ScanStep


class Bench:
    """A job on some way to run tasks."""

    def __init__(self, application: QApplication, folder: Path, config: TrainConfig, limit_s: float) -> None:
        self.application = application
        self.end = time.perf_counter() + limit_s
        self.data = folder / "data"
        self.folder = folder
        self.config = config
        self.runs = 0
        self.state = AppState(ViewerModel())

    def job(self, run: Run, name: str, hold: Any = None) -> tuple[Job, list[Any]]:
        """Start a task; return its job, and the list of what it tells."""
        task: Task[Any, Any]
        if name == "train":
            self.runs += 1
            task = Train(self.config, self.data, self.folder / f"run{self.runs}")
        elif name == "compare":
            task = Compare(data=self.data, old=None, new=bundled(), device="cpu")
        else:
            task = Report(self.data)
        job, told = Job(self.state, name, hold), []
        job.reported.connect(told.append)
        job.start(lambda: task.on(run))
        return job, told

    def spin(self, until: Callable[[], bool], limit_s: float | None = None) -> None:
        """Let the window work until something is so, or for ``limit_s``; ends the benchmark when its time is up."""
        left = self.end - time.perf_counter()
        spin(self.application, until, left if limit_s is None else min(left, limit_s))
        if time.perf_counter() >= self.end:
            raise SystemExit("The time is up: this machine is too slow or busy; what is not printed was not measured.")

    def use_small(self) -> None:
        """Train on small crops of few images from now on: a whole epoch then takes seconds."""
        self.data = self.folder / "small"
        write_training_folder(self.data, 4, (160, 160))
        self.config = self.config.with_changes(augment__crop=128, data__views=1)

    def lateness(self, name: str, run: Run, seconds: float) -> None:
        """Print how late the timer is from the first step on."""
        job, told = self.job(run, "train")
        self.spin(lambda: any(isinstance(event, StepDone) for event in told) or not job.is_busy)
        late, first = Lateness(), len(told)
        late.start()
        self.spin(lambda: not job.is_busy, seconds)
        late.timer.stop()
        steps = sum(isinstance(event, StepDone) for event in told[first:])
        begin = time.perf_counter()
        job.stop()
        self.spin(lambda: not job.is_busy)
        stopped = f"stopped in {time.perf_counter() - begin:5.2f} s"
        print(f"{name:16} {late}   {steps} steps   {job.error or stopped}", flush=True)

    def stop(self, name: str, client: EngineClient, task: str, stage: type | None, *, paused: bool = False) -> None:
        """Print how soon a Stop in a stage is felt, and done."""
        job, told = self.job(client.run, task, client.hold)
        if stage is not None:
            self.spin(lambda: any(isinstance(event, stage) for event in told) or not job.is_busy)
        note = ""
        if paused:
            begin = time.perf_counter()
            job.pause()
            self.spin(lambda: job.state is JobState.PAUSED)
            note = f"   held after {time.perf_counter() - begin:.2f} s"
            process = psutil.Process(client.process_id)
            before = sum(process.cpu_times()[:2])
            self.spin(lambda: False, 2)
            note += f", {(sum(process.cpu_times()[:2]) - before) / 2:.1%} of a core while it holds"
        begin = time.perf_counter()
        job.stop()
        felt = time.perf_counter() - begin
        process_id = client.process_id
        self.spin(lambda: not job.is_busy)
        if process_id is not None and client.process_id != process_id:
            note += "   (the process was killed)"
        print(
            f"{name:28} felt in {felt * 1000:5.2f} ms   {job.state.value} in {time.perf_counter() - begin:5.2f} s{note}"
        )
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--preset", default="lite", choices=PRESETS)
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--limit", type=float, default=480, help="seconds after which it gives up (default: 480)")
    options = parser.parse_args()
    application = QApplication(sys.argv[:1])
    small = {"start_from": "random", "device": "cpu", "augment__crop": options.crop, "data__chunks": 4}
    config = TrainConfig.preset(options.preset, TISSUE_CLASSES).with_changes(**small)
    print(
        f"{torch.get_num_threads()} threads of torch, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        write_training_folder(Path(folder) / "data", 10, (500, 500))
        bench = Bench(application, Path(folder), config, options.limit)
        client = EngineClient()
        try:
            measure(bench, client, options.seconds)
        finally:
            client.shutdown()
            bench.state.close()


def measure(bench: Bench, client: EngineClient, seconds: float) -> None:
    """Print all figures."""
    bench.stop("stop: engine starts", client, "train", None)
    for _ in range(2):  # what else the machine does changes with time
        idle = Lateness()
        idle.start()
        bench.spin(lambda: False, seconds)
        idle.timer.stop()
        print(f"{'idle':16} {idle}", flush=True)
        bench.lateness("engine process", client.run, seconds)
    bench.stop("stop: data check", client, "report", ScanStep)
    bench.stop("stop: first chunk is read", client, "train", RunStarted)
    bench.stop("stop: training step", client, "train", StepDone)
    bench.stop("stop: paused", client, "train", StepDone, paused=True)
    bench.stop("stop: two models compared", client, "compare", ComparisonStep)
    bench.use_small()  # the next two come at the end of an epoch
    bench.stop("stop: validation", client, "train", ValidationStep)
    bench.stop("stop: checkpoint written", client, "train", CheckpointSaved)
    client.shutdown()
    bench.lateness("plain thread", TaskRunner(TASKS).run, seconds)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

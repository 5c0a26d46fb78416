"""What a long day leaves behind: docks opened and closed, predictions, images, trainings, all in one real viewer.

Each part runs once to fill every cache, is counted, runs on, and is counted again. Memory may then have grown by 50 MB,
and nothing else by anything: threads, timers, file handles, processes, objects of Qt and of OpenGL. The exit code is 1
when something did.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/long_day.py [--docks 20] [--images 50] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_API", "pyqt5")

import napari
import psutil
from napari.utils import progress
from qtpy.QtCore import QEvent, QObject, QSettings, QTimer
from qtpy.QtWidgets import QApplication

from napari_cellseg.events import StepDone
from napari_cellseg.gui.engine import Engine
from napari_cellseg.gui.jobs import Job, JobState
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.train.run import Plan
from napari_cellseg.gui.widgets.workflow import dock_of
from napari_cellseg.images.samples import TISSUE_CLASSES, write_training_folder
from training.config import TrainConfig

DOCKS = ("Open", "Segment", "Review", "Train", "Export", "Batch", "Models", "Gallery", "Table")
MOST_MIB = 50.0
SIDE = 128
LIMIT_S = 240.0

# In a process of its own, as torch must not be loaded in that of a viewer.
SAVE_A_MODEL = """
import sys, torch
from pathlib import Path
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.images.samples import TISSUE_CLASSES
torch.manual_seed(0)
few = {"detection__per_image": 20, "rpn__post_nms_test": 100, "detection__min_score": 0.0}
few |= {"rpn__pre_nms_test": 100, "rpn__cap_side": None}
config = ModelConfig.preset("lite", TISSUE_CLASSES).with_changes(**few)
save_checkpoint(Path(sys.argv[1]), build_model(config), CheckpointMetadata(name="random"))
"""

TRAINING = {
    "start_from": "random",
    "device": "cpu",
    "model__backbone__name": "test_resnet",
    "model__fpn__channels": 16,
    "model__box_head__hidden": 32,
    "model__mask_head__channels": 8,
    "model__working_scale": 1.0,
    "augment__crop": 96,
    "epochs": 1000,
    "data__views": 1,
    "data__chunks": 2,
    "data__validation_fraction": 0.25,
}


def spin(until: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + limit_s
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s:.0f} s in vain")
        QApplication.processEvents()
        time.sleep(0.002)


def settle(seconds: float = 0.5) -> None:
    """Let Qt and Python delete what is to be deleted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        time.sleep(0.01)
    gc.collect()


class Day:
    """A viewer, its plugin, and what a person does all day."""

    def __init__(self, folder: Path, images: int) -> None:
        self.model = folder / "random.safetensors"
        subprocess.run([sys.executable, "-c", SAVE_A_MODEL, str(self.model)], check=True)
        self.images, self.train = folder / "images", folder / "training"
        write_training_folder(self.images, images, (SIDE, SIDE))  # with label images, so that there are cells to show
        write_training_folder(self.train, 4, (SIDE, SIDE))
        self.viewer = napari.Viewer()
        self.plugin = plugin_of(self.viewer)
        self.state = self.plugin.state
        self.engine = Engine(self.state)
        self.runs = 0
        self.steps: list[StepDone] = []
        self.plugin.training.job.reported.connect(self._on_step)

    def _on_step(self, event: object) -> None:
        if isinstance(event, StepDone):
            self.steps.append(event)

    def open_folder(self) -> None:
        """Open the images, and choose the model as a person would."""
        self.plugin.opener.open_path(self.images / "train")
        spin(lambda: self.state.session is not None)
        self.segment = self.open_dock("Segment")
        settle()
        # The engine warms up, and napari opens the animation of its first progress bar, at a time of their own.
        spin(lambda: not any(job.is_busy for job in self.state.findChildren(Job)))
        with progress(total=1):
            settle()
        self.segment.model.choose(self.model)
        self.segment.advanced.set_values({"tile": SIDE, "overlap": 32, "scale": 1.0})

    def open_dock(self, name: str) -> Any:
        """Open a dock of the plugin; one that is open comes to the front."""
        return self.viewer.window.add_plugin_dock_widget("napari-cellseg", name, tabify=True)[1]

    # ---- one cycle of each part ----

    def docks(self, _: int) -> None:
        """Open every dock, and close it as its cross does."""
        opened = [self.open_dock(name) for name in DOCKS]
        settle(0.2)
        for widget in opened:
            dock_of(widget).destroyOnClose()
        settle(0.2)

    def predictions(self, _: int) -> None:
        """Press the button of Segment, and wait for the cells."""
        job = self.plugin.segmentation.job
        self.segment.button.click()
        assert job.is_busy, self.segment.button.toolTip()
        spin(lambda: not job.is_busy)
        assert job.state is JobState.FINISHED, job.error

    def pictures(self, cycle: int) -> None:
        """Show another image with its cells."""
        files = self.state.images
        file = files[cycle % len(files)]
        if file == self.state.file:
            return
        self.plugin.opener.show(file.image_id)
        spin(lambda: self.state.file == file and self.state.session is not None and not self.state.loading)
        self.plugin.layers.finish()

    def trainings(self, _: int) -> None:
        """Start a training, and stop it after its first step."""
        run = self.plugin.training
        self.runs += 1
        self.steps.clear()
        config = TrainConfig.preset("lite", TISSUE_CLASSES).with_changes(**TRAINING)
        run.start(Plan(config, self.train / "train", self.train / f"run{self.runs}"))
        spin(lambda: bool(self.steps) or not run.job.is_busy)
        assert run.job.is_busy, run.job.error
        run.job.stop()
        spin(lambda: not run.job.is_busy)
        assert run.job.state is JobState.STOPPED, run.job.error

    # ---- what there is ----

    def count(self) -> dict[str, float]:
        """Count all that must not grow; the window is left at rest first, with the one idle engine that may stay."""
        list(self.engine.warm_up())  # it ends after some minutes, at another moment in each run
        settle(1.0)
        settle(0.1)
        self._let_timers_end()
        process = psutil.Process()
        gc.unfreeze()  # those that the plugin set aside while it made layers would be missed
        gc.collect()
        qt = Counter(live_objects())
        return {
            "memory MiB": process.memory_info().rss / 2**20,
            "threads": threading.active_count(),
            "file handles": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
            "processes": len(process.children(recursive=True)),
            "active timers": sum(timer.isActive() for timer in every(QTimer)),
            "timers": len(every(QTimer)),
            "widgets": len(QApplication.allWidgets()),
            "jobs": qt["Job"],
            "objects of ours": sum(qt.values()),
            "OpenGL objects": self._opengl_objects(),
        }

    @staticmethod
    def _let_timers_end() -> None:
        """Wait for the timers that run once; on a busy machine, some still run after the pause above."""
        end = time.monotonic() + 10.0
        while time.monotonic() < end and any(timer.isActive() and timer.isSingleShot() for timer in every(QTimer)):
            settle(0.2)

    def _opengl_objects(self) -> int:
        """Count buffers, textures, programs and shaders as vispy keeps them for the canvas."""
        context = self.viewer.window._qt_viewer.canvas._scene_canvas.context
        return len(context.shared.parser._objects)


def every(kind: type[QObject]) -> list[Any]:
    """Return all objects of a type that Python knows and Qt has not deleted."""
    try:
        from PyQt5.sip import isdeleted as is_gone
    except ImportError:
        from shiboken6 import isValid

        def is_gone(thing: Any) -> bool:
            return not isValid(thing)

    return [thing for thing in gc.get_objects() if isinstance(thing, kind) and not is_gone(thing)]


def live_objects() -> list[str]:
    """Return the class names of all Qt objects of this package."""
    return [type(thing).__name__ for thing in every(QObject) if type(thing).__module__.startswith("napari_cellseg")]


def kinds() -> Counter[str]:
    """Count the objects of this package, and all widgets, by their class: a hint to what leaks."""
    return Counter(live_objects()) | Counter(widget.metaObject().className() for widget in QApplication.allWidgets())


def measure(day: Day, name: str, work: Callable[[int], None], cycles: int) -> dict[str, Any]:
    """Run a part ``cycles`` times, at least twice, and say what the cycles after the first ones left behind."""
    # Qt makes tab bars, and napari its pool of threads, in the first three cycles.
    warm = min(max(3, cycles // 5), 5, cycles - 1)
    for cycle in range(warm):
        work(cycle)
    before, kinds_before = day.count(), kinds()
    begin = time.monotonic()
    for cycle in range(warm, cycles):
        work(cycle)
    seconds = time.monotonic() - begin
    after = day.count()
    more = kinds() - kinds_before
    grown = {
        what: after[what] - before[what]
        for what in before
        if after[what] - before[what] > (MOST_MIB if what == "memory MiB" else 0)
    }
    print(f"\n{name}: {cycles} times, {seconds:.0f} s")
    for what in before:
        mark = "   GREW" if what in grown else ""
        print(f"  {what:16} {before[what]:8.0f} -> {after[what]:8.0f}{mark}")
    if more:
        print(f"  more of: {dict(more)}")
    sys.stdout.flush()
    return {"name": name, "cycles": cycles, "before": before, "after": after, "grown": grown}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docks", type=int, default=20)
    parser.add_argument("--predictions", type=int, default=100)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--trainings", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the counts here as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder / "settings"))
        day = Day(folder, min(options.images, 50))
        day.open_folder()
        parts = [
            measure(day, "images opened in turn", day.pictures, options.images),
            measure(day, "predictions", day.predictions, options.predictions),
            measure(day, "docks opened and closed", day.docks, options.docks),
            measure(day, "trainings started and stopped", day.trainings, options.trainings),
        ]
        day.viewer.close()
    if options.json is not None:
        options.json.write_text(json.dumps(parts))
    return int(any(part["grown"] for part in parts))


if __name__ == "__main__":
    sys.exit(main())

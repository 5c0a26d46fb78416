"""How soon it is there: a command, the plugin in the viewer and the process that predicts, against the plain way.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/start_up.py [--repeats 3]

Each line is a new process, and the ways take turns; the best of each counts, since the first run reads files from disk.
The plain way of a command is one that imports torch at its start, that of the plugin is napari's own window.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

_WINDOW = """
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
{dock}
for _ in range(5):
    QApplication.processEvents()
import os
print("there", flush=True)
os._exit(0)
"""
_ENGINE = """
import time
import numpy as np
from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.tasks import Predict
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.inference.predict_item import PredictItem
if __name__ == "__main__":
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    client = EngineClient()
    for _ in range({times}):
        begin = time.perf_counter()
        list(Predict((PredictItem("a", rgb),), PredictOptions(device="cpu")).on(client.run))
    print("there", time.perf_counter() - begin, flush=True)
    client.shutdown()
"""
WAYS = {
    "python that does nothing": ["-c", "pass"],
    "napari-cellseg --version": ["-m", "napari_cellseg", "--version"],
    "plain: import torch, torchvision, timm": ["-c", "import torch, torchvision, timm"],
    "import napari_cellseg": ["-c", "import napari_cellseg"],
    "plain: napari's window": ["-c", _WINDOW.format(dock="")],
    "napari's window with Open": [
        "-c",
        _WINDOW.format(dock='viewer.window.add_plugin_dock_widget("napari-cellseg", "Open")'),
    ],
    "engine process and a first prediction": ["-c", _ENGINE.format(times=1)],
    "second prediction": ["-c", _ENGINE.format(times=2)],
}
_TELLS_ITSELF = "second prediction"


def seconds(name: str) -> float:
    """Run one way."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, *WAYS[name]], check=True, capture_output=True, text=True)
    took = time.perf_counter() - begin
    return float(done.stdout.split()[-1]) if name == _TELLS_ITSELF else took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(options.repeats):
        for name in WAYS:
            best[name] = min(best[name], seconds(name))
    for name, took in best.items():
        print(f"{name:40} {took:6.2f} s")
    ways = list(best.values())
    print(
        f"a command starts in {ways[1] / ways[2]:.2f} of the time of the plain way,"
        f" the window with the plugin in {ways[5] / ways[4]:.2f}"
    )


if __name__ == "__main__":
    main()

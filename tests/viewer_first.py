"""Opens a viewer, then the plugin, and works in it: run, stop, run, close. A program, run by test_viewer_first.py.

It must be a process of its own: the libraries of torch and those of an open window crash only when the window came
first.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path

import napari
import psutil
from qtpy.QtCore import QSettings, QTimer


def work(viewer, folder, checkpoint, report):
    """Yield conditions to wait for."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellseg", "Segment", tabify=True)
    state, job, row = dock.state, dock.segmentation.job, dock.row
    yield lambda: state.has_docks and len(viewer.window._wrapped_dock_widgets) > 1
    report["docks"] = sorted(viewer.window._wrapped_dock_widgets)
    report["reason without an image"] = dock.button.toolTip()
    dock.opener.open_path(folder)
    yield lambda: state.session is not None
    dock.model.choose(checkpoint)
    dock.advanced.set_values({"tile": 128, "overlap": 32, "scale": 1.0})

    assert dock.button.isEnabled(), dock.button.toolTip()
    dock.button.click()
    yield lambda: not job.is_busy
    report["first"] = (job.state.name, str(job.error or ""), row.message.text())
    report["engine"] = dock.segmentation.engine.process_id
    state.set_min_scores(dict.fromkeys(state.classes.class_ids, 0.0))
    yield lambda: len([layer for layer in viewer.layers if layer._type_string == "labels"]) == len(state.classes)
    report["cells"] = state.session.count()
    report["layers"] = [layer.name for layer in viewer.layers]
    report["painted"] = sum(int((layer.data > 0).any()) for layer in viewer.layers if layer._type_string == "labels")

    dock.button.click()
    yield lambda: job.state.name == "RUNNING"
    start = time.perf_counter()
    job.stop()
    report["felt"] = time.perf_counter() - start
    yield lambda: not job.is_busy
    report["stopped"] = (job.state.name, time.perf_counter() - start)

    dock.button.click()
    yield lambda: not job.is_busy
    report["second"] = (job.state.name, str(job.error or ""))
    dock.button.click()  # closing must cope with a running one
    yield lambda: job.state.name == "RUNNING"
    report["children"] = [child.pid for child in psutil.Process().children(recursive=True)]


def main():
    settings, folder, checkpoint, out = map(Path, sys.argv[1:])
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(settings))
    viewer = napari.Viewer()
    report = {}
    steps = work(viewer, folder, checkpoint, report)
    waiting_for = None

    def step():
        nonlocal waiting_for
        try:
            while waiting_for is None or waiting_for():
                waiting_for = next(steps)
            return
        except StopIteration:
            pass
        except Exception:  # noqa: BLE001 - the test shows it
            report["failed"] = traceback.format_exc()
        timer.stop()
        report["torch in the viewer"] = "torch" in sys.modules
        out.write_text(json.dumps(report))
        viewer.close()

    timer = QTimer()
    timer.timeout.connect(step)
    timer.start(20)
    napari.run()
    report["closed"] = True
    out.write_text(json.dumps(report))


if __name__ == "__main__":
    main()

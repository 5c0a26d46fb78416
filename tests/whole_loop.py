"""Opens a viewer and goes the whole way in it: correct, save, train, stop, resume, use the model, segment, compare.

A program, run by test_whole_loop.py in a process of its own, in which the window comes before everything else. Clicks
the docks' own buttons; the training is real, in the engine process, and small.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path

import napari
import numpy as np
import psutil
from napari.utils import progress
from qtpy.QtCore import QSettings, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.workflow import is_in_front


def answer(text):
    """Click the button of the question that is open; returns whether there is one."""
    box = QApplication.activeModalWidget()
    if not isinstance(box, QMessageBox):
        return False
    next(button for button in box.buttons() if button.text() == text).click()
    return True


def work(viewer, options, report):
    """Yield conditions to wait for."""
    folder = Path(options["data"])
    segment_dock, segment = viewer.window.add_plugin_dock_widget("napari-cellseg", "Segment", tabify=True)
    state = segment.state
    yield lambda: "Train (napari-cellseg)" in viewer.window._wrapped_dock_widgets
    dock = viewer.window._wrapped_dock_widgets["Train (napari-cellseg)"]
    train = dock.inner_widget()
    job, form, monitor = train.run.job, train.form, train.monitor
    report["reason without a folder"] = train.button.toolTip()
    plugin_of(viewer).opener.open_path(folder)
    yield lambda: state.session is not None

    segment_dock.raise_()
    yield lambda: not is_in_front(train) and not train.run.is_busy

    # Correct cells: one was missed, one is none, one has the wrong class.
    session = state.session
    before = len(session.cells)
    first, second = list(session.cells)[:2]
    session.delete([first])
    session.reclassify([second], 1 + session.cells[second].class_id % len(state.classes))
    session.add(1, (2, 2, 8, 8), np.ones((6, 6), bool))
    report["cells"] = (before, session.count())

    dock.raise_()
    yield lambda: "corrections" in train.source.counts.text()
    report["data"] = train.source.counts.text()
    form.start.choose(options["start"])
    for part, values in options["settings"].items():
        form.forms[part].set_values(values)
    form.device.setCurrentText("cpu")
    assert train.button.isEnabled(), train.button.toolTip()
    train.button.click()
    yield lambda: answer("Write and train")
    yield lambda: job.is_busy
    report["written"] = sorted(path.name for path in state.file.path.parent.iterdir())
    report["modified after writing"] = state.workspace.is_modified(state.image_id)
    report["disabled in training"] = train.button.toolTip()
    yield lambda: monitor.use_button.isEnabled() and len(train.run.history.rows) >= 1
    report["engine"] = train.run.engine.process_id
    yield lambda: monitor.row.label.text().startswith("epoch")
    start = time.perf_counter()
    monitor.row.stop_button.click()
    report["state after the click"] = job.state.value
    yield lambda: not job.is_busy
    report["stopped"] = (job.state.name, time.perf_counter() - start, monitor.row.message.text())
    report["epochs at the stop"] = len(train.run.history.rows)
    yield lambda: train.resume_row.isVisible()
    report["offered"] = train.past_label.text()

    train.resume_button.click()
    yield lambda: not job.is_busy
    report["end"] = (job.state.name, str(job.error or ""), monitor.summary.text())
    report["epochs"] = [row["epoch"] for row in train.run.history.rows]
    yield lambda: not monitor.plots._timer.isActive()
    report["points"] = {name: len(line.xData) for name, line in monitor.plots.lines.items() if line.xData is not None}
    report["best"] = monitor.best.text()
    monitor.examples_button.click()
    yield lambda: monitor.examples.is_shown
    report["example layer"] = next(layer.name for layer in viewer.layers if layer.name.startswith("Examples"))
    monitor.examples_button.click()

    form.device.setCurrentText("cpu")
    segment.device.setCurrentText("cpu")
    monitor.use_button.click()
    yield lambda: segment.segmentation.job.is_busy
    yield lambda: not segment.segmentation.job.is_busy
    report["model"] = str(state.model)
    report["segmented"] = (segment.segmentation.job.state.name, segment.row.message.text())
    report["use"] = monitor.use_row.message.text()

    monitor.compare_button.click()
    yield lambda: not train.run.compare_job.is_busy
    report["compared"] = (train.run.compare_job.state.name, monitor.compare_row.message.text())
    window = monitor.window_of_comparison
    yield lambda: window.views[0].item.image is not None
    report["rows"] = window.table.rowCount()
    window.close()
    report["progress left"] = [bar.desc for bar in progress._all_instances]
    report["children"] = [child.pid for child in psutil.Process().children(recursive=True)]


def main():
    options = json.loads(Path(sys.argv[1]).read_text())
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, options["settings_folder"])
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    report = {}
    steps = work(viewer, options, report)
    waiting_for = None
    deadline = time.monotonic() + options["limit_s"]

    def step():
        nonlocal waiting_for
        timer.stop()  # a question runs an event loop of its own
        try:
            if time.monotonic() > deadline:
                raise TimeoutError(f"still waiting in line {steps.gi_frame.f_lineno}")
            if waiting_for is None or waiting_for():
                waiting_for = next(steps)
            timer.start(10)
            return
        except StopIteration:
            pass
        except Exception:  # noqa: BLE001 - the test shows it
            report["failed"] = traceback.format_exc()
        report["torch in the viewer"] = "torch" in sys.modules
        Path(options["out"]).write_text(json.dumps(report))
        plugin_of(viewer).close()  # else a viewer with work in it asks before it closes
        viewer.close()

    timer = QTimer()
    timer.timeout.connect(step)
    timer.start(10)
    napari.run()
    report["closed"] = True
    Path(options["out"]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()

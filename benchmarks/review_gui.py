"""How quickly the window answers in a review: ours, with the dock *Review* open, and plain napari layers.

Run it in a real window, or under Xvfb::

    python benchmarks/review_gui.py [--synthetic 4096] [--folder consep/train/train_01] [--window 1280x800]

A time begins with the key or the mouse button as Qt sends it, and ends when the canvas has drawn what came of it, all
that waits in the event loop before that included. Wall times depend on what else the machine does, so each line gives
processor time (all threads of the process, the software renderer's too) as well. *plain* is a napari viewer of the same
size with the same image and four Labels layers: its redraw is the floor, which no plugin can go below.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from qtpy.QtCore import QPoint, QSize, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.gui.canvas.camera import camera_of
from napari_cellseg.gui.plugin import Plugin, plugin_of
from napari_cellseg.images.read import read_tiff
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.workspace import Sessions

CLASSES = ClassTable.numbered(4)


# ---- what is reviewed ----


def synthetic(folder: Path, side: int) -> None:
    """Write an image of round cells, 32 px apart: 16,129 of them at 4096 px."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:20, :20]
    places = [(left, top) for top in range(8, side - 24, 32) for left in range(8, side - 24, 32)]
    crops = [(y - 9.5) ** 2 + (x - 9.5) ** 2 <= radius for radius in rng.uniform(36, 100, len(places))]
    cells = InstanceMasks.from_crops(
        (side, side),
        np.array(places),
        crops,
        1 + np.arange(len(places)) % 4,
        rng.uniform(0.3, 1, len(places)).astype(np.float32),
    )
    propose(folder, rng.integers(150, 255, (side, side, 3), np.uint8), cells)


def labelled(folder: Path, source: Path) -> None:
    """Write an image with the cells of its ``class*.tif`` as proposals, for there must be something to review."""
    rgb = read_tiff(source / "image.tif").rgb()
    labels = to_instances(read_class_images(source, rgb.shape[:2]), rgb.shape[:2])
    scores = np.random.default_rng(0).uniform(0.3, 1, len(labels)).astype(np.float32)
    cells = InstanceMasks(
        image_size=rgb.shape[:2], boxes=labels.boxes, class_ids=labels.class_ids, scores=scores, masks=labels.masks
    )
    propose(folder, rgb, cells)


def propose(folder: Path, rgb: np.ndarray, cells: InstanceMasks) -> None:
    tifffile.imwrite(folder / "tissue.tif", rgb, photometric="rgb")
    with Sessions.of_folder(folder) as workspace:
        workspace.set_classes(CLASSES)
        workspace.open_session("tissue", rgb.shape[:2]).load_proposals(cells)
        workspace.save("tissue")


# ---- measuring ----


class Measured:
    """Times of one thing done many times."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    def add(self, times: tuple[float, float]) -> None:  # noqa: D102
        self.wall.append(times[0])
        self.processor.append(times[1])

    def report(self) -> dict[str, float]:  # noqa: D102
        wall, processor = np.array(self.wall) * 1e3, np.array(self.processor) * 1e3
        values = {
            "wall_ms_median": np.median(wall),
            "wall_ms_p95": np.percentile(wall, 95),
            "cpu_ms_median": np.median(processor),
            "cpu_ms_p95": np.percentile(processor, 95),
        }
        rounded = {name: round(float(value), 1) for name, value in values.items()}
        sys.stderr.write(f"{rounded}\n")  # to see how it goes
        return rounded


class Bench:
    """One viewer, and how often its canvas was drawn."""

    def __init__(self, size: tuple[int, int], repeats: int) -> None:
        self.viewer = napari.Viewer()
        self.size, self.repeats, self.drawn = QSize(*size), repeats, 0
        self.window = self.viewer.window._qt_window
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        self.viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(self._on_draw, position="last")
        self.settle()

    def _on_draw(self, event: object) -> None:  # noqa: ARG002
        self.drawn += 1

    def settle(self) -> None:  # noqa: D102
        self.window.resize(self.size)
        pump(1.0)

    def measured(self, act: Callable[[], object], repeats: int | None = None) -> dict[str, float]:  # noqa: D102
        times = Measured()
        for _ in range(repeats or self.repeats):
            pump(0.25)  # what the time before left to do later
            times.add(self.once(act))
        return times.report()

    def once(self, act: Callable[[], object]) -> tuple[float, float]:
        """Do something and wait until the canvas is drawn: wall and processor time, s."""
        before = self.drawn

        def act_and_draw() -> None:
            act()
            end = time.perf_counter() + 3
            while self.drawn == before and time.perf_counter() < end:
                QApplication.processEvents()

        return timed(act_and_draw)

    def key(self, key: Any, modifier: Any = Qt.NoModifier) -> dict[str, float]:  # noqa: D102
        return self.measured(lambda: QTest.keyClick(self.canvas, key, modifier))

    def redraw(self) -> dict[str, float]:  # noqa: D102
        return self.measured(self.canvas.update)

    def on_screen(self, y: float, x: float) -> QPoint:  # noqa: D102
        camera, size = camera_of(self.viewer), self.canvas.size()
        middle_y, middle_x = camera.center[-2:]
        left, top = size.width() / 2 + (x - middle_x) * camera.zoom, size.height() / 2 + (y - middle_y) * camera.zoom
        return QPoint(round(left), round(top))


def timed(act: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - processor


def pump(seconds: float = 0.0) -> None:
    end = time.perf_counter() + seconds
    QApplication.processEvents()
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def opened(until: Callable[[], bool]) -> dict[str, float]:
    """Return the longest time between two turns of the event loop, by the clock and of the window's thread, ms."""
    turns = [(time.perf_counter(), time.thread_time())]
    processor = time.process_time()
    timer = QTimer()
    timer.setInterval(0)
    timer.timeout.connect(lambda: turns.append((time.perf_counter(), time.thread_time())))
    timer.start()
    while not until() and turns[-1][0] - turns[0][0] < 60:
        QApplication.processEvents()
    whole = time.perf_counter() - turns[0][0]
    pump(1.0)
    pauses = np.diff(turns, axis=0).max(0)
    values = {
        "longest_pause_ms": pauses[0],
        "longest_pause_cpu_ms": pauses[1],
        "wall_ms": whole,
        "cpu_ms": time.process_time() - processor,
    }
    return {name: round(1e3 * float(value), 1) for name, value in values.items()}


# ---- the two ways ----


def ours(folder: Path, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    bench = Bench(size, repeats)
    viewer, plugin = bench.viewer, plugin_of(bench.viewer)
    state, layers, review = plugin.state, plugin.layers, plugin.review
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellseg", "Review")
    bench.settle()
    plugin.opener.open_path(folder)
    opening = opened(lambda: len(list(layers)) == len(CLASSES) and review.queue.is_ready)
    found: dict[str, Any] = {
        "cells": len(state.session.cells),
        "canvas": [bench.canvas.width(), bench.canvas.height()],
        "opening": opening,
    }
    layers.finish()
    bench.canvas.setFocus()
    found["next (N)"] = bench.key(Qt.Key_N)
    found["accept and next (A)"] = bench.key(Qt.Key_A)
    found["reject and next (R)"] = bench.key(Qt.Key_R)
    found["set the class and next (2)"] = bench.key(Qt.Key_2)
    found["undo (Ctrl+Z)"] = bench.key(Qt.Key_Z, Qt.ControlModifier)
    found |= strokes(bench, review)
    found["redraw"] = bench.redraw()
    found["review dock brought up to date"] = direct(dock.refresh, repeats)
    found["save (processor of the window's thread)"] = direct(lambda: saved(plugin), 5)
    found |= gallery_and_table(bench, plugin, repeats)
    plugin.close()
    viewer.close()
    return found


def strokes(bench: Bench, review: Any) -> dict[str, Any]:
    """Paint short strokes with the mouse: from a move to its drawing; and what a release costs, with its command."""
    review.next()
    layer = bench.viewer.layers.selection.active
    layer.mode, layer.brush_size = "paint", 5
    pump(0.2)

    def paint(turn: int) -> None:
        x0, y0, x1, y1 = review.session.cells[review.selection[0]].box
        middle = bench.on_screen((y0 + y1) / 2, (x0 + x1) / 2)
        step = round(camera_of(bench.viewer).zoom * 2)
        QTest.mousePress(bench.canvas, Qt.LeftButton, Qt.NoModifier, middle)
        for i in range(1, 4):
            at = middle + QPoint(i * step * (-1) ** turn, step * (turn % 5))
            moves.add(bench.once(lambda at=at: QTest.mouseMove(bench.canvas, at)))
        releases.add(timed(lambda: QTest.mouseRelease(bench.canvas, Qt.LeftButton, Qt.NoModifier, at)))

    moves, releases = Measured(), Measured()
    for turn in range(bench.repeats):
        paint(turn)
        pump(0.25)
    layer.mode = "pan_zoom"
    return {"brush, from a move to its drawing": moves.report(), "brush, release": releases.report()}


def gallery_and_table(bench: Bench, plugin: Plugin, repeats: int) -> dict[str, Any]:
    _, gallery = bench.viewer.window.add_plugin_dock_widget("napari-cellseg", "Gallery")
    bench.settle()

    def turn(by: int) -> None:
        gallery._turn(by)
        gallery.view.viewport().repaint()

    pages = min(gallery.model.pages - 1, repeats)
    found: dict[str, Any] = {"gallery page, first time": direct(lambda: turn(1), pages)}
    found["gallery page, again"] = direct(lambda: turn(-1), pages)
    _, table = bench.viewer.window.add_plugin_dock_widget("napari-cellseg", "Table")
    bench.settle()
    bar = table.view.verticalScrollBar()

    def scroll() -> None:
        bar.setValue(bar.value() + bar.pageStep())
        table.view.viewport().repaint()

    found["table, page down"] = direct(scroll, repeats)
    found["table, sort"] = direct(lambda: table.view.sortByColumn(2, Qt.AscendingOrder), 5)
    bench.canvas.setFocus()
    plugin.review.next()
    found["accept and next, gallery and table open"] = bench.key(Qt.Key_A)
    return found


def direct(act: Callable[[], object], repeats: int) -> dict[str, float]:
    """Measure something that is done when it returns."""
    times = Measured()
    for _ in range(repeats):
        pump(0.05)
        times.add(timed(act))
    return times.report()


def saved(plugin: Plugin) -> None:
    plugin.opener.save()
    plugin.review.undo()


def plain(folder: Path, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Do the same with plain Labels layers: take a cell out of the data and refresh the layer."""
    bench = Bench(size, repeats)
    viewer = bench.viewer
    dock = QWidget()  # as wide as *Review*, so that the canvas is of the same size
    dock.setFixedWidth(340)
    viewer.window.add_dock_widget(dock, area="right")
    bench.settle()
    rgb = read_tiff(folder / "tissue.tif").rgb()
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("tissue", rgb.shape[:2])
    waiting = [session.view(class_id) for class_id in CLASSES.class_ids]
    waiting_image = [rgb]

    def add() -> bool:
        if waiting_image:
            viewer.add_image(waiting_image.pop(), rgb=True)
            return False
        if waiting:
            viewer.add_labels(waiting.pop(0), opacity=0.4)
        return not waiting

    opening = opened(add)
    layer = viewer.layers[-1]
    cells = iter([cell for cell in session.cells.values() if cell.class_id == len(CLASSES)])

    def go_on() -> None:
        x0, y0, x1, y1 = next(cells).box
        camera_of(viewer).center = ((y0 + y1) / 2, (x0 + x1) / 2)

    def take_out() -> None:
        x0, y0, x1, y1 = next(cells).box
        layer.data[y0:y1, x0:x1] = 0
        layer.refresh()

    found: dict[str, Any] = {
        "canvas": [bench.canvas.width(), bench.canvas.height()],
        "opening": opening,
        "redraw": bench.redraw(),
    }
    camera_of(viewer).zoom = 3
    found["next"] = bench.measured(go_on)
    found["take a cell out and refresh the layer"] = bench.measured(take_out)
    viewer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthetic", type=int, default=4096, help="side of the synthetic image, px; 0 for none")
    parser.add_argument("--folder", type=Path, help="a folder with image.tif and class*.tif")
    parser.add_argument("--window", default="1280x800", help="size of the window, px")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--only", choices=("ours", "plain"))
    options = parser.parse_args()
    width, height = (int(side) for side in options.window.split("x"))
    report: dict[str, Any] = {"window": [width, height]}
    makers: dict[str, Callable[[Path], None]] = {}
    if options.synthetic:
        makers[f"synthetic, {options.synthetic} px"] = lambda folder: synthetic(folder, options.synthetic)
    if options.folder:
        makers[options.folder.name] = lambda folder: labelled(folder, options.folder)
    for name, make in makers.items():
        folder = Path(tempfile.mkdtemp(prefix="cellseg-bench-"))
        try:
            make(folder)
            report[name] = {"load_average": round(os.getloadavg()[0], 2)}
            for way in (plain, ours):
                if options.only in (None, way.__name__):
                    report[name][way.__name__] = way(folder, (width, height), options.repeats)
        finally:
            shutil.rmtree(folder)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

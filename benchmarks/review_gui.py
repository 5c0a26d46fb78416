"""How quickly the window answers in a review: our class layers and plain napari layers, side by side.

Run it in a real window, or under Xvfb: ``python benchmarks/review_gui.py [--image 4096] [--repeats 20]``. Wall times
depend on what else the machine does, so each line gives processor time too, with the ratio to plain layers at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.gallery_model import GalleryModel, GallerySort
from napari_cellseg.gui.keys import actions_of
from napari_cellseg.gui.layers import ClassLayers
from napari_cellseg.gui.state import AppState
from napari_cellseg.gui.thumbnails import THUMBNAIL_PX, Thumbnails
from napari_cellseg.image_io import Image, ImageFile
from napari_cellseg.review import Cell, ReviewSession, Status

CLASSES = ClassTable.numbered(4)


def synthetic(side: int) -> tuple[np.ndarray, ReviewSession]:
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:20, :20]
    cells = []
    for top in range(8, side - 24, 32):
        for left in range(8, side - 24, 32):
            mask = (y - 9.5) ** 2 + (x - 9.5) ** 2 <= rng.uniform(36, 100)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1
            crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
            score = float(rng.uniform(0.3, 1))
            cells.append(Cell(len(cells) + 1, 1 + len(cells) % 4, score, Status.PROPOSED, box, crop))
    return rng.integers(150, 255, (side, side, 3), np.uint8), ReviewSession((side, side), CLASSES, cells)


def pump(seconds: float = 0.0) -> None:
    end = time.perf_counter() + seconds
    QApplication.processEvents()
    while time.perf_counter() < end:
        QApplication.processEvents()


def measured(viewer: Any, act: Callable[[], object], repeats: int) -> dict[str, float]:
    """Do something and draw, ``repeats`` times: median and 95th percentile of wall and processor time, ms."""
    canvas = viewer.window._qt_viewer.canvas.native
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        act()
        canvas.repaint()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
        pump()
    wall_ms, processor_ms = 1e3 * np.array(times).T
    return {
        "wall_ms_median": round(float(np.median(wall_ms)), 1),
        "wall_ms_p95": round(float(np.percentile(wall_ms, 95)), 1),
        "cpu_ms_median": round(float(np.median(processor_ms)), 1),
        "cpu_ms_p95": round(float(np.percentile(processor_ms, 95)), 1),
    }


def longest_pause(until: Callable[[], bool]) -> float:
    """Return the longest time between two turns of the event loop, ms."""
    turns = [time.perf_counter()]
    timer = QTimer()
    timer.setInterval(0)
    timer.timeout.connect(lambda: turns.append(time.perf_counter()))
    timer.start()
    while not until():
        QApplication.processEvents()
    pump(0.5)
    return round(1e3 * float(np.diff(turns).max()), 1)


def ours(rgb: np.ndarray, session: ReviewSession, repeats: int) -> dict[str, Any]:
    viewer = napari.Viewer()
    viewer.add_image(rgb, rgb=True, name="tissue")
    state = AppState.of(viewer)
    layers, review = ClassLayers.of(state), actions_of(state)
    state.set_classes(CLASSES)
    pump(1)
    image, file = Image(rgb, "YXS", None, Path("tissue.tif")), ImageFile("tissue", Path("tissue.tif"))
    started = time.process_time()
    state.set_current(file, image, session)
    found: dict[str, Any] = {"opening, longest pause (ms)": longest_pause(lambda: len(list(layers)) == len(CLASSES))}
    found["opening, processor time (ms)"] = round(1e3 * (time.process_time() - started), 1)
    layers.finish()
    review.queue.begin()
    review.queue.finish()
    key = viewer.window._qt_viewer.canvas._key_map_handler.press_key
    found["next (N)"] = measured(viewer, lambda: key("N"), repeats)
    found["accept and go on (A)"] = measured(viewer, lambda: key("A"), repeats)
    found["reject and go on (R)"] = measured(viewer, lambda: key("R"), repeats)
    found["undo (Ctrl+Z)"] = measured(viewer, lambda: key("Control-Z"), repeats)
    found["draw only"] = measured(viewer, lambda: None, repeats)
    model = GalleryModel()
    model.open(session, Thumbnails(rgb))
    model.arrange(1, GallerySort.SCORE, lambda cell: cell.score)
    found[f"gallery page, {THUMBNAIL_PX} px"] = gallery_pages(model)
    state.set_current(None, None, None)
    viewer.close()
    return found


def gallery_pages(model: GalleryModel) -> dict[str, float]:
    from qtpy.QtCore import Qt

    times = []
    for page in range(min(model.pages, 10)):
        wall, processor = time.perf_counter(), time.process_time()
        model.turn_to(page)
        for row in range(model.rowCount()):
            model.data(model.index(row), Qt.ItemDataRole.DecorationRole)
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    wall_ms, processor_ms = 1e3 * np.array(times).T
    return {
        "wall_ms_p95": round(float(np.percentile(wall_ms, 95)), 1),
        "cpu_ms_median": round(float(np.median(processor_ms)), 1),
    }


def plain(rgb: np.ndarray, session: ReviewSession, repeats: int) -> dict[str, Any]:
    """Do the same with plain Labels layers: take a cell out of the data and refresh the layer."""
    viewer = napari.Viewer()
    viewer.add_image(rgb, rgb=True)
    pump(1)
    views = [session.view(class_id) for class_id in CLASSES.class_ids]
    started = time.process_time()
    waiting = list(views)

    def add() -> bool:
        if waiting:
            viewer.add_labels(waiting.pop(0), opacity=0.4)
        return not waiting

    found: dict[str, Any] = {"opening, longest pause (ms)": longest_pause(add)}
    found["opening, processor time (ms)"] = round(1e3 * (time.process_time() - started), 1)
    layer = viewer.layers[-1]
    cells = iter([cell for cell in session.cells.values() if cell.class_id == len(CLASSES)])

    def take_out() -> None:
        x0, y0, x1, y1 = next(cells).box
        layer.data[y0:y1, x0:x1] = 0
        layer.refresh()

    found["reject and go on (R)"] = measured(viewer, take_out, repeats)
    viewer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=int, default=4096, help="side of the image, px")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    rgb, session = synthetic(options.image)
    report = {"cells": len(session.cells), "side_px": options.image, "load_average": os.getloadavg()[0]}
    report["plain"] = plain(rgb, session, options.repeats)
    report["ours"] = ours(rgb, session, options.repeats)
    key = "reject and go on (R)"
    report["plain / ours, processor time of a reject"] = round(
        report["plain"][key]["cpu_ms_median"] / report["ours"][key]["cpu_ms_median"], 2
    )
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

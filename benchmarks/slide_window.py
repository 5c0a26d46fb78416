"""A slide in a real window: time to open, memory, and the stalls of panning, zooming and reviewing a million cells.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/slide_window.py [--side 20000] [--cells 1000000]

The slide is a synthetic pyramid of JPEG tiles; its cells are ellipses in a store, as `predict` writes one. A timer of
5 ms in the window's thread stands for the window in use: how late it is, is the stall that a user feels. Keys and mouse
are real events. Plain napari then shows the same levels, through tifffile and Zarr, and is moved the same way: without
a GPU, drawing the window takes most of each turn in both. The figures depend on what else runs: the load of the machine
is printed with them, and the CPU time of the window's thread in one turn of the event loop, which depends less on it.
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

import numpy as np
import psutil
from slide import Mosaic, blocks_of, write_slide

from napari_cellseg.formats.cell_store import CellStore
from napari_cellseg.formats.tile_cells import TileCells
from napari_cellseg.images.samples import TISSUE_CLASSES
from napari_cellseg.instances import InstanceMasks

BATCH = 20_000


def ellipses(rng: np.random.Generator, count: int = 64) -> list[Any]:
    """Return masks of nuclei, about 11 px wide."""
    y, x = np.mgrid[-12:13, -12:13]
    masks = []
    for _ in range(count):
        long, short, turn = rng.uniform(5, 9), rng.uniform(4, 6), rng.uniform(0, np.pi)
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        inside = (u / long) ** 2 + (v / short) ** 2 <= 1
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        masks.append(inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return masks


def write_cells(path: Path, side: int, cells: int, seed: int = 0) -> None:
    """Write a complete store of cells on a jittered grid."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(cells)))
    spacing = side / across
    masks = ellipses(rng)
    size = side, side
    with CellStore.create(path, size, {"made_from": {}, "classes": TISSUE_CLASSES.to_json()}) as store:
        for tile, first in enumerate(range(0, cells, BATCH)):
            number = np.arange(first, min(first + BATCH, cells))
            chosen = [masks[i] for i in rng.integers(0, len(masks), len(number)).tolist()]
            extent = np.array([mask.shape[::-1] for mask in chosen])
            corner = np.stack([number % across, number // across], 1) * spacing
            corner += rng.uniform(0, spacing / 3, corner.shape)
            corner = np.minimum(corner.astype(int), side - extent)
            found = InstanceMasks(
                image_size=size,
                boxes=np.concatenate([corner, corner + extent], 1).astype(np.int32),
                class_ids=rng.integers(1, 5, len(number)).astype(np.int32),
                scores=rng.uniform(0.5, 1, len(number)).astype(np.float32),
                masks=tuple(chosen),
            )
            colours = np.zeros((len(found), 3), np.int64)
            store.add({tile: "done"}, TileCells.of_tile(tile, found, colours), TileCells.empty(size))
        store.finish()


class Window:
    """A viewer, with the plugin or without, and how late the timer of its thread is."""

    def __init__(self, *, is_plain: bool = False) -> None:
        import napari
        from qtpy.QtCore import Qt, QTimer
        from qtpy.QtWidgets import QApplication

        from napari_cellseg.gui.plugin import plugin_of

        self.viewer = napari.Viewer()
        self.viewer.window.resize(1400, 900)
        if not is_plain:
            self.viewer.window.add_plugin_dock_widget("napari-cellseg", "Open")
        self.plugin = None if is_plain else plugin_of(self.viewer)
        self._application = QApplication.instance()
        self._late: list[float] = []
        self._busy: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self._late.append((now - self._last) * 1000 - 5)
        self._last = now

    def pump(self, seconds: float = 0.0, until: Callable[[], object] | None = None) -> None:
        """Let Qt work for some time, or until something is so."""
        end = time.perf_counter() + (120 if until else seconds)
        while time.perf_counter() < end and not (until is not None and until()):
            begin = time.thread_time()
            self._application.processEvents()
            self._busy.append((time.thread_time() - begin) * 1000)
            time.sleep(0.0005)

    def settle(self) -> None:
        """Wait until all of the view is shown."""
        self.pump(0.05)
        if self.plugin is not None:  # napari itself reads in the window's thread
            self.pump(until=lambda: self.plugin.slides.is_up_to_date)

    def measured(self, name: str, do: Callable[[], object]) -> None:
        """Do something, and print the stalls."""
        self.pump(0.2)
        self._late.clear()
        self._busy.clear()
        begin = time.perf_counter()
        do()
        seconds = time.perf_counter() - begin
        self.pump(0.05)
        p50, p99 = np.percentile(self._late, [50, 99])
        many = sum(late > 100 for late in self._late)
        print(
            f"{name:34} {seconds:6.2f} s   stalls p50 {p50:5.1f}   p99 {p99:6.1f}   max {max(self._late):6.1f} ms   "
            f"over 100 ms: {many}   CPU of a turn max {max(self._busy):5.1f} ms   "
            f"memory {memory_mib():.0f} MiB   load {os.getloadavg()[0]:.1f}",
            flush=True,
        )

    def look_at(self, y: float, x: float, zoom: float) -> None:
        """Move the camera."""
        from napari_cellseg.gui.canvas.camera import camera_of

        camera = camera_of(self.viewer)
        camera.center, camera.zoom = (y, x), zoom

    def pan(self, steps: int, px: float) -> None:
        """Move the view by some px of the screen a step, 20 steps a second."""
        from napari_cellseg.gui.canvas.camera import camera_of

        camera = camera_of(self.viewer)
        for step in range(steps):
            y, x = camera.center[-2:]
            way = px / camera.zoom * (1 if step < steps // 2 else -1)
            camera.center = (y + way / 2, x + way)
            self.pump(0.05)

    def press(self, key: Any, modifier: Any = None) -> None:
        """Press a key on the canvas."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.keyClick(self.canvas, key, modifier or Qt.NoModifier)
        self.pump(0.05)

    def click_middle(self) -> None:
        """Click the middle of the canvas."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        middle = QPoint(self.canvas.width() // 2, self.canvas.height() // 2)
        QTest.mouseClick(self.canvas, Qt.LeftButton, Qt.NoModifier, middle)
        self.pump(0.05)

    @property
    def canvas(self) -> Any:
        """What gets the keys and the mouse."""
        return self.viewer.window._qt_viewer.canvas.native

    def shot(self, folder: Path | None, name: str) -> None:
        """Take a picture of the window."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.viewer.window._qt_window.grab().save(str(folder / f"{name}.png"))


def memory_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def move(window: Window, side: int, shots: Path | None) -> None:
    """Zoom into the middle, and pan at each zoom."""
    for zoom in (0.06, 0.25, 0.5, 1.0, 2.0):
        middle = side / 2, side / 2, zoom
        window.measured(f"zoom to {zoom:g}", lambda middle=middle: (window.look_at(*middle), window.settle()))
        window.measured(f"pan at {zoom:g}", lambda: window.pan(30, 40))
        window.settle()
        window.shot(shots, f"zoom-{zoom:g}")


def use_plain(slide: Path) -> None:
    """Show the image, without cells, in napari without the plugin."""
    import tifffile
    import zarr

    window = Window(is_plain=True)
    window.pump(2)
    before = memory_mib()
    group = zarr.open_group(tifffile.imread(slide, aszarr=True), mode="r")
    levels = [group[str(number)] for number in range(len(list(group.array_keys())))]
    print("plain napari, the same image without cells:")
    window.measured("add the image", lambda: window.viewer.add_image(levels, multiscale=True, rgb=True))
    print(f"  {memory_mib() - before:.0f} MiB over the window")
    move(window, levels[0].shape[0], None)
    window.viewer.close()


def use(folder: Path, shots: Path | None) -> None:
    from qtpy.QtCore import Qt

    window = Window()
    plugin, review = window.plugin, window.plugin.slide_review
    window.pump(2)
    before = memory_mib()

    def open_slide() -> None:
        plugin.opener.open_path(folder)
        window.pump(until=lambda: plugin.state.slide is not None and plugin.slides.image.layer is not None)

    window.measured("open, image on the canvas", open_slide)
    window.measured("first cells, all counted", lambda: window.pump(until=lambda: plugin.slides.cells.totals))
    window.settle()
    window.shot(shots, "far")
    print(f"  {sum(plugin.slides.cells.totals.values()):,} cells; {memory_mib() - before:.0f} MiB over the window")
    move(window, plugin.state.slide.levels.size[0], shots)
    window.viewer.window._qt_window.activateWindow()
    window.canvas.setFocus()

    def reject_some() -> None:
        for _ in range(20):
            window.press(Qt.Key_R)

    window.measured("click", window.click_middle)
    window.measured("N, then 20 cells rejected", lambda: (window.press(Qt.Key_N), reject_some()))
    window.settle()
    window.shot(shots, "reviewed")
    rejected = len(review.decisions.of)
    window.measured("5 times undo", lambda: [window.press(Qt.Key_Z, Qt.ControlModifier) for _ in range(5)])
    window.measured("all in view accepted", lambda: window.press(Qt.Key_A, Qt.ShiftModifier))
    window.settle()
    decided = dict(review.decisions.of)
    plugin.opener._forget_folder()
    window.pump(0.2)
    open_slide()
    window.pump(until=lambda: plugin.slides.cells.totals)
    assert review.decisions.of == decided, "the decisions are not on disk"
    print(
        f"  {rejected} rejected, 5 taken back, {len(decided):,} decided, all on disk; "
        f"{memory_mib() - before:.0f} MiB over the window at the end"
    )
    window.viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000, help="of the slide, px")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where slide and cells are kept for the next run")
    parser.add_argument("--shots", type=Path, help="folder for pictures of the window")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "slide.tif").exists():
            write_slide(folder / "slide.tif", Mosaic(blocks_of(None, 0.2), options.side, 0))
        store = folder / "cells" / "slide.sqlite"
        if not store.exists():
            write_cells(store, options.side, options.cells)
        store.with_suffix(".decisions").unlink(missing_ok=True)
        sizes = [path.stat().st_size / 2**20 for path in (folder / "slide.tif", store)]
        print(f"{options.side} x {options.side} px, {sizes[0]:.0f} MiB; {options.cells:,} cells, {sizes[1]:.0f} MiB")
        use(folder, options.shots)
        use_plain(folder / "slide.tif")


if __name__ == "__main__":
    sys.exit(main())

"""A viewer with a small image of four classes under review, for the tests of the window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.review import Cell, ReviewSession, Status

CLASSES = ClassTable(("other", "inflammatory", "epithelial", "spindle-shaped"))
SIZE = (160, 200)


def disk(diameter: int) -> np.ndarray:
    y, x = np.ogrid[:diameter, :diameter]
    middle = (diameter - 1) / 2
    return (y - middle) ** 2 + (x - middle) ** 2 <= (diameter / 2) ** 2


def make_session(rows: int = 4, columns: int = 5, *, classes: ClassTable = CLASSES) -> ReviewSession:
    """Round cells 1..20 on a grid, 40 px apart, of diameter 20; class 1 + (i - 1) % 4, scores from 0.30 up."""
    cells = []
    for i in range(rows * columns):
        y, x = 10 + 40 * (i // columns), 10 + 40 * (i % columns)
        score = round(0.30 + 0.03 * i, 2)
        cells.append(
            Cell(
                cell_id=i + 1,
                class_id=1 + i % 4,
                score=score,
                status=Status.PROPOSED,
                box=(x, y, x + 20, y + 20),
                mask=disk(20),
                label_value=0,
                by="model",
                at=0.0,
            )
        )
    return ReviewSession(SIZE, classes, cells, user="tester", clock=lambda: 1.0)


@dataclass
class Window:
    """The viewer, and what the docks share."""

    viewer: Any
    state: Any
    layers: Any
    review: Any
    docks: dict[str, Any] = field(default_factory=dict)

    def open_focused(self) -> ReviewSession:
        """Put an image under review, with the keyboard on the canvas."""
        session = self.open()
        focus(self, self.canvas)
        return session

    def open(self, session: ReviewSession | None = None, rgb: np.ndarray | None = None) -> ReviewSession:
        """Put an image under review; noise if no pixels are given."""
        from napari_cellseg.images.read import Image, ImageFile

        session = make_session() if session is None else session
        if rgb is None:
            rgb = np.random.default_rng(0).integers(120, 220, (*session.image_size, 3), np.uint8)
        image = Image(pixels=rgb, axes="YXS", pixel_size_um=None, path=Path("tissue.tif"))
        self.state.set_classes(session.classes)
        self.state.set_min_scores({})
        if "tissue" in self.viewer.layers:
            self.viewer.layers["tissue"].data = rgb
        else:
            self.viewer.add_image(rgb, name="tissue", rgb=True)
        self.viewer.reset_view()
        self.state.set_current(ImageFile("tissue", Path("tissue.tif")), image, session)
        self.layers.finish()
        self.review.queue.begin()
        self.review.queue.finish()
        pump()
        return session

    def put_tools_away(self) -> None:
        """Point, and show the masks, as at the start."""
        self.review.tools.point()
        self.review.cutting.stop()
        self.review.showing.show()
        if self.review.showing.outlines_only:
            self.review.showing.toggle_outlines()

    def dock(self, name: str) -> Any:
        """Open a dock of the plugin, once."""
        if name not in self.docks:
            _, self.docks[name] = self.viewer.window.add_plugin_dock_widget("napari-cellseg", name)
            self.viewer.window.resize(1400, 900)
            pump()
        self.state.set_min_scores({})  # Segment, which comes along, takes those of its model
        return self.docks[name]

    @property
    def canvas(self) -> Any:
        """What gets the keys and the mouse."""
        return self.viewer.window._qt_viewer.canvas.native

    def type_key(self, key: Any, modifier: Any = None) -> None:
        """Press and release a key of the keyboard on the canvas, for example ``Qt.Key_A``."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.keyClick(self.canvas, key, modifier or Qt.NoModifier)
        pump()

    def press(self, key: str) -> None:
        """Press a key as napari's canvas gets it, for example "Control-Z"."""
        self.viewer.window._qt_viewer.canvas._key_map_handler.press_key(key)


def focus(window: Window, widget: Any) -> None:
    """Give a widget the keyboard."""
    from qtpy.QtWidgets import QApplication

    window.state.window.activateWindow()
    widget.setFocus()
    wait_until(lambda: QApplication.focusWidget() is widget)


@contextmanager
def open_window() -> Iterator[Window]:
    """Open a viewer; close it in the end."""
    import napari

    from napari_cellseg.gui.plugin import plugin_of

    viewer = napari.Viewer(show=True)
    # napari remembers the size of its window from test to test; docks next to a small one leave no canvas.
    viewer.window.resize(1400, 900)
    pump()
    plugin = plugin_of(viewer)
    try:
        yield Window(viewer, plugin.state, plugin.layers, plugin.review)
    finally:
        plugin.state.set_current(None, None, None)
        plugin.close()
        with suppress(RuntimeError):  # already closed
            viewer.close()


def pump(seconds: float = 0.0) -> None:
    """Let Qt work."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    QApplication.processEvents()
    while time.monotonic() < end:
        time.sleep(0.01)
        QApplication.processEvents()


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Let Qt work until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        pump(0.02)


def stroke(layer: Any, points: list[tuple[int, int]], size: int = 5, *, erase: bool = False) -> None:
    """Paint with napari's brush: one stroke through some points."""
    layer.brush_size = size
    before, layer.mode = layer.mode, "erase" if erase else "paint"
    with layer.block_history():
        for point in points:
            layer.paint(point, 0 if erase else layer.selected_label)
    layer.mode = before

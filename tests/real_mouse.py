"""The real mouse on the canvas of a `review_window.Window`."""

from __future__ import annotations

from typing import Any

from napari_cellseg.gui.canvas.camera import camera_of
from tests.review_window import Window, pump


class Mouse:
    """Moves in px of the image, (y, x)."""

    def __init__(self, window: Window) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self._window, self._test, self._qt = window, QTest, Qt

    def drag(self, points: list[tuple[float, float]], modifier: Any = None) -> None:
        canvas, keys = self._window.canvas, modifier or self._qt.NoModifier
        places = [self._on_screen(*point) for point in points]
        self._test.mousePress(canvas, self._qt.LeftButton, keys, places[0])
        for place in places[1:]:
            self._move(place, keys)
        self._test.mouseRelease(canvas, self._qt.LeftButton, keys, places[-1])
        pump(0.05)

    def click(self, y: float, x: float) -> None:
        self.drag([(y, x)])

    def _move(self, place: Any, keys: Any) -> None:
        from qtpy.QtCore import QEvent, QPointF
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        # QTest.mouseMove sends no pressed button, which is no drag.
        where = self._window.canvas.mapToGlobal(place)
        event = QMouseEvent(
            QEvent.MouseMove, QPointF(place), QPointF(where), self._qt.NoButton, self._qt.LeftButton, keys
        )
        QApplication.sendEvent(self._window.canvas, event)
        pump()

    def _on_screen(self, y: float, x: float) -> Any:
        from qtpy.QtCore import QPoint

        camera, size = camera_of(self._window.viewer), self._window.canvas.size()
        middle_y, middle_x = camera.center[-2:]
        left = size.width() / 2 + (x - middle_x) * camera.zoom
        top = size.height() / 2 + (y - middle_y) * camera.zoom
        return QPoint(round(left), round(top))

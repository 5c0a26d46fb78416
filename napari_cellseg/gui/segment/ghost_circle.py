"""`GhostCircle`: a circle over the canvas that can be dragged and resized; it is no layer, so no file ever has it."""

from __future__ import annotations

import math
from typing import Any

from qtpy.QtCore import QEvent, QObject, QPointF, QRect, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QRegion
from qtpy.QtWidgets import QWidget

from napari_cellseg.gui.canvas.camera import camera_of, move_to

__all__ = ["GhostCircle"]

_MARGIN = 10
"""Around the circle, px of the screen: what a drag of the edge takes hold of."""
_INNER = 0.6
"""A press within this share of the radius moves the circle, one further out resizes it."""
_SMALLEST = 2.0


class GhostCircle(QWidget):
    """A child widget of the canvas, only as large as the circle: all around it the canvas gets the mouse.

    Parameters
    ----------
    canvas : QWidget
        What shows the image.
    viewer : napari viewer
        Whose camera it follows.
    """

    resized = Signal(float)
    """The diameter while its edge is dragged, px of the image."""
    escaped = Signal()
    """Esc was pressed, on the circle or on the canvas."""

    def __init__(self, canvas: QWidget, viewer: Any) -> None:
        super().__init__(canvas)
        self._viewer = viewer
        self._image_size = (1, 1)
        self._centre = (0.0, 0.0)
        self._diameter = 1.0
        self._grip: QPointF | None = None
        self._resizes = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setToolTip("Drag it onto a nucleus, and its edge to the edge of the nucleus. Esc hides it.")
        canvas.installEventFilter(self)
        camera_of(viewer).events.connect(self._place)
        self.hide()

    @property
    def diameter(self) -> float:
        """Px of the image."""
        return self._diameter

    @property
    def is_held(self) -> bool:
        """Whether it is being dragged."""
        return self._grip is not None

    @property
    def centre(self) -> tuple[float, float]:
        """(y, x), px of the image."""
        return self._centre

    def open(self, diameter: float, image_size: tuple[int, int]) -> None:
        """Show the circle in the middle of what the canvas shows of the image, magnified if it would be tiny."""
        self._image_size, self._diameter = image_size, diameter
        y, x = camera_of(self._viewer).center[-2:]
        height, width = image_size
        self._centre = (min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0))
        y0, x0 = (round(at - diameter / 2) for at in self._centre)
        move_to(self._viewer, (x0, y0, x0 + math.ceil(diameter), y0 + math.ceil(diameter)), image_size)
        self._place()
        self.show()
        self.raise_()
        self.setFocus()

    def resize_to(self, diameter: float) -> None:
        """Show another diameter around the same centre."""
        self._diameter = diameter
        self._place()

    def discard(self) -> None:
        """Take it away for good."""
        camera_of(self._viewer).events.disconnect(self._place)
        self.hide()
        self.setParent(None)
        self.deleteLater()

    # ---- where it is on the screen ----

    def _place(self, _: Any = None) -> None:
        """Cover the circle, wherever the camera puts it."""
        side = round(2 * (self._radius + _MARGIN))
        middle = self._to_screen(self._centre)
        self.setGeometry(QRect(round(middle.x() - side / 2), round(middle.y() - side / 2), side, side))
        self.setMask(QRegion(self.rect(), QRegion.RegionType.Ellipse))
        self.update()

    @property
    def _radius(self) -> float:
        """Px of the screen."""
        return float(max(self._diameter * camera_of(self._viewer).zoom / 2, 2.0))

    def _to_screen(self, place: tuple[float, float]) -> QPointF:
        camera, canvas = camera_of(self._viewer), self.parentWidget()
        y, x = camera.center[-2:]
        return QPointF(
            canvas.width() / 2 + (place[1] - x) * camera.zoom, canvas.height() / 2 + (place[0] - y) * camera.zoom
        )

    # ---- what Qt calls ----

    def eventFilter(self, canvas: QObject, event: QEvent) -> bool:
        """Follow the size of the canvas, and take its Esc while the circle is shown."""
        if self.isVisible() and event.type() == QEvent.Type.Resize:
            self._place()
        if self.isVisible() and event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
            return True
        return bool(super().eventFilter(canvas, event))

    def keyPressEvent(self, event: Any) -> None:
        """Hide on Esc; the other keys are the canvas's."""
        if event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        else:
            event.ignore()

    def mousePressEvent(self, event: Any) -> None:
        """Take hold of the middle, to move, or of the edge, to resize."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._grip = self._from_middle(event)
            self._resizes = _length(self._grip) > _INNER * self._radius
            event.accept()
        else:
            event.ignore()

    def mouseMoveEvent(self, event: Any) -> None:
        """Move or resize while held; else show by the cursor what a press would do."""
        offset = self._from_middle(event)
        if self._grip is None:
            is_edge = _length(offset) > _INNER * self._radius
            self.setCursor(Qt.CursorShape.SizeFDiagCursor if is_edge else Qt.CursorShape.SizeAllCursor)
        elif self._resizes:
            zoom = camera_of(self._viewer).zoom
            self._diameter = min(max(2 * _length(offset) / zoom, _SMALLEST), float(min(self._image_size)))
            self._place()
            self.resized.emit(self._diameter)
        else:
            self._move_by(offset - self._grip)

    def mouseReleaseEvent(self, event: Any) -> None:  # noqa: ARG002
        """Let go."""
        self._grip = None

    def paintEvent(self, event: Any) -> None:  # noqa: ARG002
        """Draw a white ring with a dark border, seen on any tissue, and a grip at its right."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, radius = QPointF(self.rect().center()) + QPointF(0.5, 0.5), self._radius
        for colour, width in ((QColor(0, 0, 0, 200), 6.0), (QColor(255, 255, 255), 2.0)):
            painter.setPen(QPen(colour, width))
            painter.drawEllipse(middle, radius, radius)
        painter.setBrush(QColor(255, 255, 255))
        painter.setPen(QPen(QColor(0, 0, 0, 170), 1.0))
        painter.drawRect(QRectF(middle.x() + radius - 4, middle.y() - 4, 8, 8))

    def _move_by(self, offset: QPointF) -> None:
        zoom = camera_of(self._viewer).zoom
        height, width = self._image_size
        y, x = self._centre[0] + offset.y() / zoom, self._centre[1] + offset.x() / zoom
        self._centre = (min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0))
        self._place()

    def _from_middle(self, event: Any) -> QPointF:
        """Return where the mouse is from the middle of the circle, px of the screen."""
        at = self.mapToParent(event.pos())
        return QPointF(at) - self._to_screen(self._centre)


def _length(offset: QPointF) -> float:
    return math.hypot(offset.x(), offset.y())

"""`LimitSliders`: the two limits of brightness as a pair of sliders, with the histogram of the image above."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QRectF, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt import QDoubleRangeSlider

from napari_cellseg.gui.widgets.dock import ACCENT
from napari_cellseg.images.brightness import Histogram

__all__ = ["LimitSliders"]

_HEIGHT = 44
_STEPS = 500
"""Of a slider, over its whole range."""


class LimitSliders(QWidget):
    """Two handles on one groove; the histogram shows what lies outside of them in grey."""

    moved = Signal(float, float)
    """The lower and upper limit, while a handle is dragged and after each key."""
    settled = Signal()
    """A handle was let go."""

    def __init__(self) -> None:
        super().__init__()
        self.histogram = _HistogramView()
        self.slider = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip("Drag the handles: values at the left one become black, at the right one white")
        self.slider.setAccessibleName("Brightness limits")
        self.slider.setMinimumWidth(1)
        self.slider.barIsVisible = True
        self.slider.valueChanged.connect(self._on_moved)
        self.slider.sliderReleased.connect(self.settled)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.histogram)
        column.addWidget(self.slider)

    @property
    def is_held(self) -> bool:
        """Whether a handle is being dragged."""
        return bool(self.slider.isSliderDown())

    def show_image(self, histogram: Histogram, low: float, high: float) -> None:
        """Show another image with its limits; the range holds its values and the limits."""
        first, last = min(histogram.low, low), max(histogram.high, high)
        with QSignalBlocker(self.slider):
            self.slider.setRange(first, last if last > first else first + 1)
            self.slider.setSingleStep((last - first) / _STEPS)
            self.slider.setValue((low, high))
        self.histogram.show_counts(histogram, first, last)
        self.histogram.show_limits(low, high)

    def show_limits(self, low: float, high: float) -> None:
        """Move the handles without telling; limits outside of the range stay at its ends."""
        with QSignalBlocker(self.slider):
            self.slider.setValue((low, high))
        self.histogram.show_limits(low, high)

    def _on_moved(self, value: tuple[float, ...]) -> None:
        low, high = value
        self.histogram.show_limits(low, high)
        self.moved.emit(low, high)


class _HistogramView(QWidget):
    """Draws the bars, on a logarithmic scale so that a white background leaves the cells something to see."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(_HEIGHT)
        self._heights = np.zeros(0)
        self._span = (0.0, 1.0)
        self._range = (0.0, 1.0)
        self._limits = (0.0, 1.0)

    def show_counts(self, histogram: Histogram, first: float, last: float) -> None:
        """Draw other counts on an axis from ``first`` to ``last``."""
        tall = np.log1p(histogram.counts)
        self._heights = tall / max(float(tall.max(initial=0.0)), 1e-9)
        self._span, self._range = (histogram.low, histogram.high), (first, max(last, first + 1e-9))
        self.update()

    def show_limits(self, low: float, high: float) -> None:
        """Draw the limits elsewhere."""
        self._limits = (low, high)
        self.update()

    def paintEvent(self, event: Any) -> None:  # noqa: ARG002
        painter = QPainter(self)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        inside, outside = QColor(ACCENT).lighter(130), QColor(text)
        outside.setAlpha(80)
        bins, bottom = len(self._heights), self.height() - 1
        edges = np.linspace(*self._span, bins + 1) if bins else np.zeros(1)
        for height, start, end in zip(self._heights.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            left, right = self._x(start), self._x(end)
            is_inside = self._limits[0] <= (start + end) / 2 <= self._limits[1]
            bar = QRectF(left, bottom * (1 - height), max(right - left, 1.0), bottom * height)
            painter.fillRect(bar, inside if is_inside else outside)
        painter.setPen(QPen(text, 1))
        painter.drawLine(0, bottom, self.width(), bottom)
        for limit in self._limits:
            x = round(self._x(limit))
            painter.drawLine(x, 0, x, bottom)

    def _x(self, value: float) -> float:
        first, last = self._range
        margin = 8  # half a handle: the middle of the handles moves over the width without it
        share = min(max((value - first) / (last - first), 0.0), 1.0)
        return float(margin + share * (self.width() - 1 - 2 * margin))

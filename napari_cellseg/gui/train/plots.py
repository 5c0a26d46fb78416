"""The curves of *Train*: losses, and AP50 of each class in its colour; drawn twice a second at most, while visible."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyqtgraph
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_cellseg.classes import ClassTable
from napari_cellseg.gui.widgets.lifetime import listen_while_alive
from napari_cellseg.gui.widgets.workflow import is_in_front
from training.history import RunHistory

__all__ = ["TrainPlots"]

DRAW_MS = 500
_TRAIN, _VALIDATION = "#56b4e9", "#e69f00"
_HEIGHT = 132
_UNBROKEN = 24


class TrainPlots(QWidget):
    """Two plots over the epochs, each with its legend below it.

    Parameters
    ----------
    viewer : napari.Viewer
        Its theme gives background and text colour.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._history = RunHistory()
        self._classes = ClassTable.numbered(1)
        self.draws = 0
        self.loss = _plot("Loss")
        self.precision = _plot("AP50, validation")
        self.precision.setYRange(0, 1, padding=0.02)
        self.loss_legend, self.precision_legend = _legend(), _legend()
        self.lines: dict[str, Any] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for widget in (self.loss, self.loss_legend, self.precision, self.precision_legend):
            column.addWidget(widget)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DRAW_MS)
        self._timer.timeout.connect(self._draw)
        listen_while_alive(self, viewer.events.theme, self._restyle)
        self._restyle()

    def show_history(self, history: RunHistory, classes: ClassTable) -> None:
        """Show another run."""
        self._history, self._classes = history, classes
        for plot in (self.loss, self.precision):
            plot.clear()
        self.lines.clear()
        self.refresh()

    def refresh(self) -> None:
        """Schedule a redraw: the run has new values."""
        if not self._timer.isActive():
            self._timer.start()

    def _draw(self) -> None:
        if not is_in_front(self):
            self._timer.start()  # look again
            return
        self.draws += 1
        history, rows = self._history, self._history.rows
        self._line(self.loss, "steps", history.steps.x, history.steps.y, _TRAIN + "66", width=1)
        for name, colour in (("train_loss", _TRAIN), ("val_loss", _VALIDATION)):
            self._line(self.loss, name, *_column(rows, name), colour)
        for _, name, colour in self._classes:
            self._line(self.precision, f"ap50/{name}", *_column(rows, f"ap50/{name}"), colour)
        self._line(self.precision, "ap50", *_column(rows, "ap50"), _text_colour(self._viewer), dashed=True)
        self._show_legends()

    def _line(
        self,
        plot: Any,
        name: str,
        x: Sequence[float],
        y: Sequence[float],
        colour: str,
        *,
        width: float = 2,
        dashed: bool = False,
    ) -> None:
        pen = pyqtgraph.mkPen(colour, width=width, style=Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine)
        symbol = "o" if name != "steps" and len(x) < 30 else None
        look = {"pen": pen, "symbol": symbol, "symbolSize": 5, "symbolBrush": colour, "symbolPen": None}
        if name not in self.lines:
            self.lines[name] = plot.plot(x, y, **look)
        else:
            self.lines[name].setData(x, y, **look)

    def _show_legends(self) -> None:
        row, measured = (self._history.rows[-1] if self._history.rows else {}), self._history.validated
        losses = [("training", _TRAIN, row.get("train_loss")), ("validation", _VALIDATION, measured.get("val_loss"))]
        self.loss_legend.setText(_entries(losses))
        classes = [(name, colour, measured.get(f"ap50/{name}")) for _, name, colour in self._classes]
        self.precision_legend.setText(_entries([*classes, ("mean", _text_colour(self._viewer), measured.get("ap50"))]))

    def _restyle(self, _event: object = None) -> None:
        text, back = _text_colour(self._viewer), _theme_colour(self._viewer, "background", "#262930")
        for plot in (self.loss, self.precision):
            plot.setBackground(back)
            plot.getPlotItem().setTitle(plot.title, color=text, size="9pt")
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(text)
                plot.getAxis(side).setTextPen(text)
        if "ap50" in self.lines:
            self._draw()


class _EpochAxis(pyqtgraph.AxisItem):
    """Ticks at whole epochs only."""

    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:
        """Return pyqtgraph's spacings (spacing, offset) from one epoch up, coarsest first."""
        wider = [(spacing, offset) for spacing, offset in super().tickSpacing(minVal, maxVal, size) if spacing >= 1]
        return wider or [(1.0, 0.0)]


def _plot(title: str) -> Any:
    plot = pyqtgraph.PlotWidget(axisItems={"bottom": _EpochAxis("bottom")}, enableMenu=False)
    plot.title = title
    plot.setAccessibleName(f"Plot: {title}")
    plot.setFixedHeight(_HEIGHT)
    plot.hideButtons()
    plot.setMouseEnabled(False, False)
    plot.showGrid(x=False, y=True, alpha=0.25)
    plot.getAxis("left").setWidth(40)
    plot.getPlotItem().setLimits(xMin=0, yMin=0)
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    # pyqtgraph makes these without a parent, so Python would delete them, at any time.
    menu, settings = plot.getPlotItem().ctrlMenu, plot.getPlotItem().stateGroup
    menu.setParent(plot, menu.windowFlags())
    settings.setParent(plot)
    # The wheel scrolls the dock, not the plot.
    plot.wheelEvent = lambda event: event.ignore()
    return plot


def _legend() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setMinimumWidth(1)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setContentsMargins(6, 0, 6, 4)
    return label


def _column(rows: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    points = [(row["epoch"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
    return [x for x, _ in points], [y for _, y in points]


def _entries(entries: Sequence[tuple[str, str, float | None]]) -> str:
    """Return a legend as rich text; a name and its number are not torn apart."""
    parts = []
    for name, colour, value in entries:
        number = f" {value:.3f}" if value is not None and math.isfinite(value) else ""
        # Spaces and hyphens at which no line is broken, but for names as long as a line.
        text = html.escape(f"{name}{number}")
        if len(name) <= _UNBROKEN:
            text = text.replace(" ", "\u00a0").replace("-", "\u2011")
        parts.append(f'<span style="color: {colour};">&#9632;</span>\u00a0{text}')
    return "&nbsp; ".join(parts)


def _text_colour(viewer: Any) -> str:
    return _theme_colour(viewer, "text", "#f0f1f2")


def _theme_colour(viewer: Any, name: str, default: str) -> str:
    """Return a colour of the viewer's theme as ``#rrggbb``."""
    from napari.utils.theme import get_theme

    try:
        return str(getattr(get_theme(viewer.theme), name).as_hex(format="long"))
    except (AttributeError, ValueError, TypeError):  # a napari without it
        return default

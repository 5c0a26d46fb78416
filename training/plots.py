"""The curves of a run as PNG files; needs no window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import TrainingError
from training.metric_table import metrics_for

__all__ = ["draw_curve", "finish_axes", "plot_run", "save_figure"]

Row = Mapping[str, float]

_LOSSES = {
    "loss": "all",
    "loss_classifier": "class",
    "loss_box_reg": "box",
    "loss_mask": "mask",
    "loss_iou": "IoU",
    "loss_objectness": "RPN objectness",
    "loss_rpn_box_reg": "RPN box",
}


def plot_run(folder: Path, rows: Sequence[Row]) -> None:
    """Draw ``losses.png`` and, after the first validation, ``average_precision.png`` from the rows of metrics.csv."""
    figure = Figure(figsize=(10, 4.5))
    figure.subplots_adjust(0.06, 0.12, 0.98, 0.92, 0.14)
    left, right = figure.subplots(1, 2)
    draw_curve(left, rows, "train_loss", "training", "tab:blue")
    draw_curve(left, rows, "val_loss", "validation", "tab:orange")
    finish_axes(left, "Loss", None)
    for name, label in list(_LOSSES.items())[1:]:
        draw_curve(right, rows, f"train_{name}", label)
    finish_axes(right, "Parts of the training loss", None)
    save_figure(figure, folder / "losses.png")
    if any("ap50" in row for row in rows):
        save_figure(_precision_figure(rows), folder / "average_precision.png")


def _precision_figure(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(10, 4.5))
    figure.subplots_adjust(0.06, 0.12, 0.98, 0.92, 0.14)
    left, right = figure.subplots(1, 2)
    for metric in metrics_for("plot"):
        draw_curve(left, rows, metric.name, metric.label)
    finish_axes(left, "All classes, validation", (0, 1))
    for name in dict.fromkeys(name for row in rows for name in row if name.startswith("ap50/")):
        draw_curve(right, rows, name, name.removeprefix("ap50/"))
    finish_axes(right, "AP50 of each class, validation", (0, 1))
    return figure


def draw_curve(axes: Axes, rows: Sequence[Row], name: str, label: str, colour: str | None = None) -> None:
    """Draw the finite values of one column over the epochs."""
    points = [(row["epoch"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
    if points:
        axes.plot(*zip(*points, strict=True), label=label, color=colour, marker="o" if len(points) < 30 else "", ms=3)


def finish_axes(axes: Axes, title: str, limits: tuple[float, float] | None) -> None:
    """Give a plot over epochs its title, grid, legend and limits (None: from 0 up)."""
    axes.set(title=title, xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)
    if limits:
        axes.set_ylim(*limits)
    else:
        axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize="small")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG of 100 dpi, atomically."""
    with export_write(path, error=TrainingError) as file:
        FigureCanvasAgg(figure).print_png(file)

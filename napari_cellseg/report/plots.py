"""The plots of the report, as SVG elements in the colours of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from napari_cellseg.classes import ClassTable
from napari_cellseg.report.facts import ImageFacts
from napari_cellseg.report.pictures import svg

__all__ = ["confusion_plot", "counts_plot", "scores_plot", "sizes_plot"]

_MOST_BARS = 60
_STYLE = {
    "svg.hashsalt": "report",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def counts_plot(images: Sequence[ImageFacts], classes: ClassTable) -> str:
    """Draw one bar per image, stacked by class; of more than 60 images the first 60."""
    shown = images[:_MOST_BARS]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, min(12, 0.9 + 0.26 * len(shown))), layout="constrained")
        axes = figure.subplots()
        counts = np.array([image.counts(classes) for image in shown]).reshape(len(shown), len(classes))
        left = np.zeros(len(shown))
        for class_id, name, colour in classes:
            axes.barh(range(len(shown)), counts[:, class_id - 1], left=left, color=colour, label=name, height=0.75)
            left += counts[:, class_id - 1]
        axes.set_yticks(range(len(shown)), [_short(image.image_id) for image in shown])
        axes.set(xlabel="cells")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.invert_yaxis()
        figure.legend(loc="outside upper left", ncols=min(6, len(classes)), frameon=False)
        return svg(figure)


def sizes_plot(images: Sequence[ImageFacts], classes: ClassTable) -> str:
    """Draw the distribution of the areas of each class, in um² if all images state their pixel size."""
    in_um = all(image.pixel_size_um for image in images)
    groups = [
        np.array(
            [
                cell.area_px * ((image.pixel_size_um or 1) ** 2 if in_um else 1)
                for image in images
                for cell in image.cells
                if cell.class_id == class_id
            ]
        )
        for class_id in classes.class_ids
    ]
    return _distributions(groups, classes, "area, µm²" if in_um else "area, px", log=True)


def scores_plot(images: Sequence[ImageFacts], classes: ClassTable) -> str:
    """Draw the distribution of the scores of each class; empty if no cell has a score below 1."""
    groups = [
        np.array([cell.score for image in images for cell in image.cells if cell.class_id == class_id])
        for class_id in classes.class_ids
    ]
    if not any((group < 1).any() for group in groups):
        return ""
    return _distributions(groups, classes, "score", log=False)


def _distributions(groups: Sequence[Any], classes: ClassTable, label: str, *, log: bool) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 0.8 + 0.45 * len(classes)), layout="constrained")
        axes = figure.subplots()
        full = [i for i, group in enumerate(groups) if len(group)]
        if full:
            boxes = axes.boxplot(
                [groups[i] for i in full],
                positions=full,
                orientation="horizontal",
                widths=0.6,
                patch_artist=True,
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "#888888"},
                medianprops={"color": "black"},
            )
            for i, box in zip(full, boxes["boxes"], strict=True):
                box.set_facecolor(classes.colours[i])
        labels = [f"{_short(name)} ({len(group):,})" for name, group in zip(classes.names, groups, strict=True)]
        axes.set_yticks(range(len(classes)), labels)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set(xlabel=label)
        if log and full:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x", alpha=0.3)
        return svg(figure)


def confusion_plot(confusion: Any, classes: ClassTable) -> str:
    """Draw the shares of each ground-truth class, by predicted class; row 0 of ``confusion`` is "no cell"."""
    order = [*classes.class_ids, 0]
    counts = np.asarray(confusion)[np.ix_(order, order)]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with mpl.rc_context(_STYLE):
        side = 1.6 + 0.62 * len(order)
        figure = Figure(figsize=(side + 1, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        names = [_short(name) for name in classes.names]
        axes.set_xticks(range(len(order)), [*names, "missed"], rotation=35, ha="right")
        axes.set_yticks(range(len(order)), [*names, "no cell"])
        axes.set(xlabel="predicted", ylabel="ground truth")
        for row in range(len(order)):
            for column in range(len(order)):
                if row == column == len(order) - 1:
                    continue
                colour = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)
        return svg(figure)


def _short(name: str) -> str:
    plain = name.replace("$", r"\$")  # matplotlib reads $...$ as a formula
    return plain if len(plain) <= 28 else f"{plain[:13]}…{plain[-13:]}"

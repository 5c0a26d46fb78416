"""`METRICS`: the metrics of a whole prediction. Tables, plots, result files and the model page list them from here.

A new metric is a function in `training.metrics` and one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.metrics import (
    CentroidPairs,
    Overlaps,
    PanopticCounts,
    aggregated_jaccard,
    detection_f1,
    dice,
)

__all__ = ["METRICS", "Metric", "Predicted", "mean", "metrics_for"]

Where = Literal["plot", "experiment", "model"]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The predictions at or above the score thresholds against the ground truth, one item per image in each field."""

    overlaps: Sequence[Overlaps]
    counts: Sequence[PanopticCounts]
    centroids: Sequence[CentroidPairs]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row.

    Attributes
    ----------
    name : str
        In metrics.csv, model files and result files.
    label : str
        For users.
    shown : tuple of str
        Where it is shown besides the report of an evaluation: in the "plot" of a run, in the table of an "experiment",
        on the page of a "model".
    of_all_cells : callable or None
        Returns the value regardless of class, 0..1; None: the mean over the classes, see `training.evaluate`.
    """

    name: str
    label: str
    shown: tuple[Where, ...] = ()
    of_all_cells: Callable[[Predicted], float] | None = None


def mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN; NaN when none is."""
    array = np.array(values, float)
    return float(np.nanmean(array)) if np.isfinite(array).any() else math.nan


METRICS = (
    Metric(name="ap50", label="AP50", shown=("plot", "experiment", "model")),
    Metric(name="ap50_95", label="AP50:95", shown=("plot", "experiment", "model")),
    Metric(name="ap50_max100", label="AP50/100", shown=("experiment",)),
    Metric(name="ap50_95_max100", label="AP50:95/100"),
    Metric(
        name="pq",
        label="PQ",
        shown=("plot", "experiment", "model"),
        of_all_cells=lambda predicted: mean([counts.pq for counts in predicted.counts]),
    ),
    Metric(name="dq", label="DQ", of_all_cells=lambda predicted: mean([counts.dq for counts in predicted.counts])),
    Metric(name="sq", label="SQ", of_all_cells=lambda predicted: mean([counts.sq for counts in predicted.counts])),
    Metric(
        name="aji",
        label="AJI",
        shown=("plot", "experiment", "model"),
        of_all_cells=lambda predicted: mean([aggregated_jaccard(image) for image in predicted.overlaps]),
    ),
    Metric(
        name="dice",
        label="Dice",
        shown=("model",),
        of_all_cells=lambda predicted: mean([dice(image) for image in predicted.overlaps]),
    ),
    Metric(
        name="f1",
        label="F1",
        shown=("plot", "experiment", "model"),
        of_all_cells=lambda predicted: detection_f1(predicted.centroids),
    ),
)


def metrics_for(where: Where) -> tuple[Metric, ...]:
    """Return the metrics that are shown in a place, in the order of the table."""
    return tuple(metric for metric in METRICS if where in metric.shown)

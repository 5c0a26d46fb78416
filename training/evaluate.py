"""Compare predicted with ground-truth cells: average precision by COCO's rules, and HoVer-Net's metrics."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted
from training import metrics
from training.average_precision import AveragePrecision, Found
from training.error_kinds import ErrorKinds, error_kinds
from training.metric_table import METRICS, Predicted, mean
from training.score_thresholds import best_scores

__all__ = ["ClassScores", "Evaluation", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The metrics of one class over all images; NaN where a class has no cell.

    ``ap50`` and ``ap50_95`` count all cells, ``*_max100`` only the 100 with the highest scores per image and class (the
    leaderboard's rule). ``found`` and the metrics after it count the cells at or above ``min_score``.
    """

    class_id: int
    name: str
    cells: int
    found: int
    min_score: float
    ap50: float
    ap50_95: float
    ap50_max100: float
    ap50_95_max100: float
    pq: float
    dq: float
    sq: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well predicted cells agree with ground-truth cells.

    Attributes
    ----------
    images : int
        Number of images compared.
    classes : tuple of ClassScores
        One per class.
    all_cells : mapping of str to float
        Metrics of all cells regardless of class, 0..1, by their names in `training.metric_table`: ``dice``, ``aji``,
        ``dq``, ``sq`` and ``pq`` per image and then averaged, as in HoVer-Net's paper; ``f1`` is F_d over all images.
    confusion : (K + 1, K + 1) int64
        Row: ground-truth class_id (0: no cell there), column: predicted class_id (0: no match).
    errors : ErrorKinds
        Errors by kind, over all images.
    scores_picked : bool
        Whether the score thresholds are the best ones on these images, which makes the metrics slightly too good.
    """

    images: int
    classes: tuple[ClassScores, ...]
    all_cells: Mapping[str, float]
    confusion: npt.NDArray[np.int64]
    errors: ErrorKinds
    scores_picked: bool

    @property
    def thresholds(self) -> dict[int, float]:
        """The score threshold that was used for each class_id."""
        return {scores.class_id: scores.min_score for scores in self.classes}

    def mean(self, name: str) -> float:
        """Return the mean of a metric over the classes that have it; NaN when none has."""
        return mean([getattr(scores, name) for scores in self.classes])

    def flat(self) -> dict[str, float]:
        """Return every number under a flat name: ``ap50``, ``ap50/epithelial``, ``pq``, ``f1/epithelial``, ..."""
        result = {name: self.mean(name) for name in _AP_NAMES}
        result |= self.all_cells
        cells = sum(scores.cells for scores in self.classes)
        result |= {"measured/images": self.images, "measured/cells": cells}
        result |= {f"cells/{scores.name}": scores.cells for scores in self.classes}
        for name in _TABLE_NAMES:
            result |= {f"{name}/{scores.name}": getattr(scores, name) for scores in self.classes}
        return result

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; NaN becomes null."""
        values = {
            "images": self.images,
            "mean": {name: self.mean(name) for name in (*_AP_NAMES, "pq", "f1")},
            "all_cells": dict(self.all_cells),
            "classes": [asdict(scores) for scores in self.classes],
            "confusion": self.confusion.tolist(),
            "errors": asdict(self.errors),
            "scores_picked_on_these_images": self.scores_picked,
        }
        cleaned: dict[str, Any] = _without_nan(values)
        return cleaned

    def table(self) -> str:
        """Return the metrics as text for a terminal, up to 120 columns wide."""
        width = max(10, *(len(scores.name) for scores in self.classes))
        titles = (
            "cells",
            "pred.",
            "score",
            "AP50",
            "AP50:95",
            "AP50/100",
            "AP50:95/100",
            "   PQ",
            "   DQ",
            "   SQ",
            "   F1",
        )
        lines = ["  ".join([" " * width, *titles])]
        for s in self.classes:
            numbers = [
                f"{s.min_score:.2f}",
                *(_number(getattr(s, name)) for name in (*_AP_NAMES, "pq", "dq", "sq", "f1")),
            ]
            lines.append(_row(f"{s.name:{width}}", titles, [str(s.cells), str(s.found), *numbers]))
        means = [_number(self.mean(name)) for name in (*_AP_NAMES, "pq", "dq", "sq", "f1")]
        totals = [str(sum(s.cells for s in self.classes)), str(sum(s.found for s in self.classes)), ""]
        lines.append(_row(f"{'mean':{width}}", titles, [*totals, *means]))
        every = ((metric.label, self.all_cells[metric.name]) for metric in METRICS if metric.name in self.all_cells)
        lines += ["", "regardless of class: " + "  ".join(f"{name} {_number(value)}" for name, value in every)]
        lines += ["", *self._confusion_lines(width)]
        lines += ["", *textwrap.wrap(f"In short: {self.errors}.", 110)]
        picked = "the best ones on these images, so the figures are slightly too good"
        chosen = picked if self.scores_picked else "those of the model, or of --min-score"
        lines += ["", f"{counted(self.images, 'image')}. Score thresholds: {chosen}.", _LEGEND]
        return "\n".join(lines)

    def _confusion_lines(self, width: int) -> list[str]:
        names = [scores.name for scores in self.classes]
        titles = [*(f"{name[:14]:>{min(14, max(6, len(name)))}}" for name in names), _UNMATCHED]
        lines = ["true \\ pred.".ljust(width) + "  " + "  ".join(titles)]
        order = [*range(1, len(names) + 1), 0]
        for row, name in zip(order, [*names, _UNMATCHED], strict=True):
            counts = [str(self.confusion[row, column]) if row or column else "" for column in order]
            lines.append(_row(f"{name:{max(width, 12)}}", titles, counts))
        return lines


_UNMATCHED = "no match"
_LEGEND = f"""\
  cells: of the ground truth. pred.: predicted cells at or above the score threshold of their class (score).
  AP50, AP50:95: average precision of all predicted cells, at a mask IoU of 0.5, and its mean at 0.5 to 0.95.
  /100: only the 100 highest-scoring cells per image and class, as by default in COCOeval and in leaderboards.
  DQ: F1 of cells matched by a mask IoU above 0.5. SQ: their mean IoU. PQ = DQ x SQ, over all images together.
  F1: of cells matched by their centres, up to {metrics.MATCH_RADIUS_PX:g} px apart, so that outlines do not matter.
  A wrong class is an error in the figures of the classes, and counts twice in F1. It is none regardless of class,
  where PQ, DQ, SQ, AJI and Dice are means over the images. With --class-blind, it is none in the table either.
  true \\ pred.: cells matched by a mask IoU above 0.5, of any class. Last column: ground-truth cells without a
  match (missed, merged, split or with a wrong outline). Last row: predicted cells without a match."""
_AP_NAMES = ("ap50", "ap50_95", "ap50_max100", "ap50_95_max100")
_TABLE_NAMES = (*_AP_NAMES, "pq", "dq", "sq", "f1")


def evaluate(
    truth: Found,
    found: Found,
    classes: ClassTable,
    *,
    min_scores: Mapping[int, float] | None = None,
    radius: float = metrics.MATCH_RADIUS_PX,
) -> Evaluation:
    """Compare the predicted cells of some images with the ground truth.

    Parameters
    ----------
    truth : {image id: InstanceMasks}
        The ground truth; an image without cells counts.
    found : {image id: InstanceMasks}
        The predicted cells with their scores, down to a low score; a missing image has none.
    classes : ClassTable
        The K classes.
    min_scores : {class_id: score}, optional
        Lowest score of the cells that count in all metrics but average precision (which ranks all cells). When left
        out, the best thresholds on these images are used, see `training.score_thresholds`.
    radius : float
        Maximum distance of matching centroids in F1, px.

    Raises
    ------
    AnnotationError
        No image, predicted cells of an unknown image or class, or contradicting sizes of one image.
    """
    _check(truth, found, len(classes))
    found = {name: found.get(name, InstanceMasks.empty(truth[name].image_size)) for name in truth}
    precision = AveragePrecision(truth, found, len(classes))
    thresholds = best_scores(truth, found, len(classes)) if min_scores is None else dict(min_scores)
    limits = np.array([0.0, *(thresholds.get(class_id, 0.5) for class_id in classes.class_ids)])
    kept = {name: cells.select(cells.scores >= limits[cells.class_ids]) for name, cells in found.items()}

    tables = [metrics.overlaps(truth[name], kept[name]) for name in truth]
    pairs = [metrics.pair_centroids(truth[name], kept[name], radius) for name in truth]
    counts = [metrics.panoptic_counts(table) for table in tables]
    predicted = Predicted(overlaps=tables, counts=counts, centroids=pairs)
    scores = []
    for class_id, name, _ in classes:
        pooled = sum((metrics.panoptic_counts(table, class_id) for table in tables), metrics.PanopticCounts())
        cells = sum(int((truth[i].class_ids == class_id).sum()) for i in truth)
        hits = sum(int((kept[i].class_ids == class_id).sum()) for i in truth)
        ap50, ap50_95, ap50_max100, ap50_95_max100 = precision.of_class(class_id)
        scores.append(
            ClassScores(
                class_id=class_id,
                name=name,
                cells=cells,
                found=hits,
                min_score=float(limits[class_id]),
                ap50=ap50,
                ap50_95=ap50_95,
                ap50_max100=ap50_max100,
                ap50_95_max100=ap50_95_max100,
                pq=pooled.pq,
                dq=pooled.dq,
                sq=pooled.sq,
                f1=metrics.class_f1(pairs, class_id),
            )
        )
    return Evaluation(
        images=len(truth),
        classes=tuple(scores),
        all_cells={
            metric.name: metric.of_all_cells(predicted) for metric in METRICS if metric.of_all_cells is not None
        },
        confusion=np.sum([metrics.confusion(table, len(classes)) for table in tables], axis=0),
        errors=sum((error_kinds(table) for table in tables), ErrorKinds()),
        scores_picked=min_scores is None,
    )


def _check(truth: Found, found: Found, classes: int) -> None:
    if not truth:
        raise AnnotationError("There is no annotated image to compare with.")
    unknown = sorted(set(found) - set(truth))
    if unknown:
        raise AnnotationError(f"There are results for image {unknown[0]!r}, which has no annotation.")
    for name, cells in truth.items():
        for kind, other in (("annotation", cells), ("result", found.get(name))):
            if other is None:
                continue
            if other.image_size != cells.image_size:
                raise AnnotationError(
                    f"Image {name!r}: the annotation is {cells.image_size} (height, width), "
                    f"the result {other.image_size}."
                )
            if len(other) and other.class_ids.max() > classes:
                highest = int(other.class_ids.max())
                raise AnnotationError(
                    f"Image {name!r}: the {kind} has a cell of class {highest}, but there are {classes} classes."
                )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _row(head: str, titles: Sequence[str], cells: Sequence[str]) -> str:
    return "  ".join([head, *(f"{cell:>{len(title)}}" for cell, title in zip(cells, titles, strict=True))])


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

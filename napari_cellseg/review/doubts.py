"""Doubts about a cell: each reason to check it, as text and as a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from napari_cellseg.review.cells import BoolMask, Box, Cell, overlap

__all__ = ["Doubt", "Norm", "Reason", "Shape", "iou", "norms_of", "odd_shape", "overlaps", "shape_of", "touches_border"]


class Reason(Enum):
    """A reason to check a cell."""

    MISSED = "missed"
    DISPUTED = "disputed"
    NOT_IN_LABELS = "not in the labels"
    OTHER_IN_LABELS = "another class in the labels"
    LOW_SCORE = "low score"
    AMBIGUOUS = "another class"
    OVERLAP = "overlap"
    SIZE = "size"
    SHAPE = "shape"
    BORDER = "border"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One doubt: ``value`` 0..1 is its strength, ``text`` describes it ("overlaps #87")."""

    reason: Reason
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Shape:
    """Logarithm of the area, and the fit of an ellipse: 1 for an ellipse, lower for ragged, bent or double cells."""

    log_area: float
    fit: float


@dataclass(frozen=True, slots=True)
class Norm:
    """Median and spread (1.4826 x median absolute deviation) of the shapes of a class."""

    log_area: float
    log_area_spread: float
    fit: float
    fit_spread: float


def shape_of(mask: BoolMask) -> Shape:
    """Measure a mask; the fit is its area divided by that of the ellipse with the same second moments."""
    y, x = np.nonzero(mask)
    area = len(y)
    # A pixel is a square, not a point: its own variance is 1/12. Without it thin cells would have no ellipse.
    yy, xx = y.var() + 1 / 12, x.var() + 1 / 12
    yx = (y * x).mean() - y.mean() * x.mean()
    ellipse = 4 * math.pi * math.sqrt(max(yy * xx - yx * yx, 1e-9))
    return Shape(math.log(area), min(1.0, area / ellipse))


def norms_of(shapes: Iterable[tuple[int, Shape]]) -> dict[int, Norm]:
    """Return the norm of each class from (class_id, shape) pairs; a class of fewer than five cells has none."""
    by_class: dict[int, list[Shape]] = {}
    for class_id, shape in shapes:
        by_class.setdefault(class_id, []).append(shape)
    norms = {}
    for class_id, members in by_class.items():
        if len(members) >= 5:
            area, area_spread = _robust([shape.log_area for shape in members], 0.15)
            fit, fit_spread = _robust([shape.fit for shape in members], 0.02)
            norms[class_id] = Norm(area, area_spread, fit, fit_spread)
    return norms


def odd_shape(shape: Shape, norm: Norm | None) -> list[Doubt]:
    """Compare a cell with its class; a deviation of up to 2.5 spreads raises no doubt."""
    if norm is None:
        return []
    doubts = []
    size = (shape.log_area - norm.log_area) / norm.log_area_spread
    if abs(size) > 2.5:
        times = math.exp(shape.log_area - norm.log_area)
        doubts.append(Doubt(Reason.SIZE, _degree(abs(size)), f"{times:.2g} x the usual area"))
    fit = (norm.fit - shape.fit) / norm.fit_spread
    if fit > 2.5:
        doubts.append(Doubt(Reason.SHAPE, _degree(fit), "odd shape"))
    return doubts


def overlaps(cell: Cell, others: Sequence[Cell], class_names: Sequence[str]) -> list[Doubt]:
    """Compare a cell with its neighbours: overlaps within its class, and the same cell with another class."""
    doubts = []
    for other in others:
        if other.cell_id == cell.cell_id or not (shared := _shared(cell, other)):
            continue
        if other.class_id == cell.class_id:
            part = shared / min(cell.area, other.area)
            if part > 0.05:
                doubts.append(Doubt(Reason.OVERLAP, min(0.9, part), f"overlaps #{other.cell_id}"))
        elif iou(cell, other, shared) > 0.3:
            text = f"or {class_names[other.class_id - 1]} {other.score:.2f}"
            doubts.append(Doubt(Reason.AMBIGUOUS, 0.9 * min(1.0, other.score / max(cell.score, 0.01)), text))
    return doubts


def touches_border(cell: Cell, image_size: tuple[int, int]) -> list[Doubt]:
    """Return a doubt if the cell touches the border of the image, which may cut it."""
    x0, y0, x1, y1 = cell.box
    at_edge = x0 == 0 or y0 == 0 or x1 == image_size[1] or y1 == image_size[0]
    return [Doubt(Reason.BORDER, 0.3, "touches border")] if at_edge else []


def iou(first: Cell, second: Cell, shared: int | None = None) -> float:
    """Return the intersection over union of two cells."""
    shared = _shared(first, second) if shared is None else shared
    return shared / (first.area + second.area - shared) if shared else 0.0


def _shared(first: Cell, second: Cell) -> int:
    box = overlap(first.box, second.box)
    return 0 if box is None else int(np.count_nonzero(_part(first, box) & _part(second, box)))


def _part(cell: Cell, box: Box) -> BoolMask:
    x0, y0 = cell.box[:2]
    return cell.mask[box[1] - y0 : box[3] - y0, box[0] - x0 : box[2] - x0]


def _robust(values: Sequence[float], least: float) -> tuple[float, float]:
    array = np.asarray(values)
    median = float(np.median(array))
    return median, max(least, 1.4826 * float(np.median(np.abs(array - median))))


def _degree(spreads: float) -> float:
    return min(0.8, 0.3 + (spreads - 2.5) / 10)

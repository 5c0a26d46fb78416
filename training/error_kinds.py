"""Sort the errors of a prediction into kinds that suggest what to improve.

After Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020 (a localisation error
from an IoU of 0.1, a missed or invented cell below), extended by merged and split cells, frequent where cells touch.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass

import numpy as np
import numpy.typing as npt

from training.metrics import Overlaps

__all__ = ["ErrorKinds", "error_kinds"]

_TOUCHED = 0.1
_MOSTLY = 0.5


@dataclass(frozen=True, kw_only=True)
class ErrorKinds:
    """Numbers of cells; add those of several images.

    Attributes
    ----------
    right, wrong_class : int
        Ground-truth cells matched by a predicted one with an IoU above 0.5, of the same or of another class.
    merged : int
        Other ground-truth cells half covered by a predicted one that half covers another ground-truth cell too.
    split : int
        Other ground-truth cells half covered by two or more predicted ones that lie mostly inside.
    outline : int
        Other ground-truth cells that a predicted one overlaps with an IoU from 0.1 to 0.5.
    missed : int
        All other ground-truth cells. The six kinds so far add up to all ground-truth cells.
    doubled : int
        Unmatched predicted cells that lie mostly in a ground-truth cell that another prediction matches.
    invented : int
        Other predicted cells with an IoU below 0.1 with every ground-truth cell.
    """

    right: int = 0
    wrong_class: int = 0
    merged: int = 0
    split: int = 0
    outline: int = 0
    missed: int = 0
    doubled: int = 0
    invented: int = 0

    def __add__(self, other: ErrorKinds) -> ErrorKinds:
        return ErrorKinds(**{name: count + getattr(other, name) for name, count in asdict(self).items()})

    def __str__(self) -> str:
        cells = sum(astuple(self)[:6])
        return (
            f"of {cells:,} ground-truth cells {self.right:,} right, {self.wrong_class:,} of a wrong class, "
            f"{self.outline:,} with a wrong outline, {self.merged:,} merged, {self.split:,} split, "
            f"{self.missed:,} missed; {self.doubled:,} predicted twice, {self.invented:,} predicted where no cell is"
        )


def error_kinds(o: Overlaps) -> ErrorKinds:
    """Count the kinds of errors in one image."""
    true_count, found_count, iou = len(o.true_areas), len(o.found_areas), o.iou
    matches = o.matches()
    matched, used = _at(o.i, matches, true_count), _at(o.j, matches, found_count)
    same_class = o.true_classes[o.i] == o.found_classes[o.j]

    covers = o.shared >= _MOSTLY * o.true_areas[o.i]  # the predicted cell covers most of the ground-truth cell
    swallowed = np.bincount(o.j[covers], minlength=found_count)
    merged = _at(o.i, covers & (swallowed[o.j] > 1), true_count)

    pieces = o.shared >= _MOSTLY * o.found_areas[o.j]  # the predicted cell lies mostly in the ground-truth cell
    covered = np.bincount(o.i[pieces], o.shared[pieces], minlength=true_count)
    split = (np.bincount(o.i[pieces], minlength=true_count) > 1) & (covered >= _MOSTLY * o.true_areas)

    kinds = np.select(
        [matched, merged, split, _at(o.i, iou >= _TOUCHED, true_count)],
        ["matched", "merged", "split", "outline"],
        "missed",
    )
    counts = {kind: int((kinds == kind).sum()) for kind in ("merged", "split", "outline", "missed")}
    doubled = _at(o.j, pieces & matched[o.i], found_count) & ~used
    invented = ~_at(o.j, iou >= _TOUCHED, found_count) & ~doubled
    return ErrorKinds(
        right=int((matches & same_class).sum()),
        wrong_class=int((matches & ~same_class).sum()),
        doubled=int(doubled.sum()),
        invented=int(invented.sum()),
        **counts,
    )


def _at(index: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.bool_]:
    """Return (count,) bool: which cells occur at ``index`` of a chosen pair."""
    marks = np.zeros(count, bool)
    marks[index[chosen]] = True
    return marks

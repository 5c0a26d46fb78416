"""Sort what went wrong with found cells into kinds that tell what to do about it.

After Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020 (a wrong place from an
IoU of 0.1, a missed or invented cell below), with what matters for cells that touch: merged and split ones.
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
        True cells that a found one matches with an IoU above 0.5, of the same or of another class.
    merged : int
        Other true cells half covered by a found one that half covers another true cell as well.
    split : int
        Other true cells half covered by two or more found ones that lie mostly in them.
    outline : int
        Other true cells that a found one overlaps with an IoU from 0.1 to 0.5.
    missed : int
        True cells left over. The six kinds so far add up to all true cells.
    doubled : int
        Found cells, none of the matches, that lie mostly in a true cell which another one matches.
    invented : int
        Other found cells with an IoU below 0.1 with every true cell.
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
            f"of {cells:,} true cells {self.right:,} right, {self.wrong_class:,} of a wrong class, "
            f"{self.outline:,} with an outline too far off, {self.merged:,} merged, {self.split:,} split, "
            f"{self.missed:,} missed; {self.doubled:,} found twice, {self.invented:,} where no cell is"
        )


def error_kinds(o: Overlaps) -> ErrorKinds:
    """Count the kinds of one image."""
    true_count, found_count, iou = len(o.true_areas), len(o.found_areas), o.iou
    matches = o.matches()
    matched, used = _at(o.i, matches, true_count), _at(o.j, matches, found_count)
    same_class = o.true_classes[o.i] == o.found_classes[o.j]

    covers = o.shared >= _MOSTLY * o.true_areas[o.i]  # the found cell covers most of the true one
    swallowed = np.bincount(o.j[covers], minlength=found_count)
    merged = _at(o.i, covers & (swallowed[o.j] > 1), true_count)

    pieces = o.shared >= _MOSTLY * o.found_areas[o.j]  # the found cell lies mostly in the true one
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
    """Return (count,) bool: which cells stand at ``index`` of a chosen pair."""
    marks = np.zeros(count, bool)
    marks[index[chosen]] = True
    return marks

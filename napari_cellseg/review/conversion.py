"""Conversion between `InstanceMasks`, the cells of a model or a file, and the cells of a review."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.review.cells import Cell, Status

__all__ = ["cells_from", "instances_of", "known_already"]

SHARED = 0.25
"""A proposal whose overlap with a kept cell exceeds this fraction of the smaller area is the same cell."""

SAME = 0.7
"""A proposal with a higher intersection over union with a rejected cell of its class is that rejected cell."""


def cells_from(
    instances: InstanceMasks, status: Status, by: str, at: float, *, first_id: int = 1, label_values: bool = True
) -> list[Cell]:
    """Convert instances to cells, numbered from ``first_id`` in their order.

    Parameters
    ----------
    instances : InstanceMasks
        N cells.
    status : Status
        Status of all cells: GIVEN for labels on disk, PROPOSED for a model's.
    by : str
        Name of the user, model or file that made them.
    at : float
        Time, seconds since 1970.
    first_id : int
        1 or more.
    label_values : bool
        Keep their values in the label images on disk; False for a model's cells, which are not on disk.
    """
    boxes = instances.boxes.tolist()
    values = instances.values.tolist() if label_values else [0] * len(instances)
    return [
        Cell(
            cell_id=first_id + i,
            class_id=class_id,
            score=score,
            status=status,
            box=(x0, y0, x1, y1),
            mask=mask,
            label_value=value,
            by=by,
            at=at,
        )
        for i, (class_id, score, (x0, y0, x1, y1), mask, value) in enumerate(
            zip(instances.class_ids.tolist(), instances.scores.tolist(), boxes, instances.masks, values, strict=True)
        )
    ]


def instances_of(cells: Sequence[Cell], image_size: tuple[int, int]) -> InstanceMasks:
    """Convert cells to instances, in order; cells without a label value get values above the highest of their class."""
    return InstanceMasks(
        image_size=image_size,
        boxes=np.array([cell.box for cell in cells], np.int32).reshape(-1, 4),
        class_ids=np.array([cell.class_id for cell in cells], np.int32),
        scores=np.array([cell.score for cell in cells], np.float32),
        masks=tuple(cell.mask for cell in cells),
        label_values=_label_values(cells),
    )


def known_already(instances: InstanceMasks, kept: Sequence[Cell], image_size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return a (N,) bool mask of the instances that the user has already decided about; see `SHARED` and `SAME`."""
    known = np.zeros(len(instances), bool)
    if not kept or not len(instances):
        return known
    mine = instances_of(kept, image_size)
    i, j, shared = intersections(instances, mine)
    area, other = instances.areas[i], mine.areas[j]
    rejected = np.array([cell.status is Status.REJECTED for cell in kept])[j]
    covered = ~rejected & (shared > SHARED * np.minimum(area, other))
    again = rejected & (instances.class_ids[i] == mine.class_ids[j]) & (shared > SAME * (area + other - shared))
    known[i[covered | again]] = True
    return known


def _label_values(cells: Sequence[Cell]) -> npt.NDArray[np.int64]:
    highest: dict[int, int] = {}
    for cell in cells:
        highest[cell.class_id] = max(highest.get(cell.class_id, 0), cell.label_value)
    values = []
    for cell in cells:
        if not cell.label_value:
            highest[cell.class_id] += 1
        values.append(cell.label_value or highest[cell.class_id])
    return np.array(values, np.int64)

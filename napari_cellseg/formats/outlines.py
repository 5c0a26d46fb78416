"""The outline of a mask along its pixel edges; filling the outline restores the mask exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["outlines", "signed_area"]

Ring = npt.NDArray[np.int32]

# A directed edge has the cell on its right (y points down): right, down, left, up.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def outlines(mask: npt.NDArray[np.bool_], x: int = 0, y: int = 0) -> list[Ring]:
    """Follow the pixel edges around a mask crop whose first pixel is at ``x``, ``y``.

    Returns
    -------
    list of (M, 2) int32
        Corners x, y in px, where pixel 0 spans 0..1; not closed (the first point is not repeated). Outer rings have
        a positive `signed_area`, holes a negative one. Parts that touch only at a corner are separate rings.
    """
    edges = _edges(mask)
    rings = []
    while edges:
        start, directions = next(iter(edges.items()))
        point, direction = start, directions[0]
        corners = []
        previous = -1
        while True:
            leaving = edges[point]
            if len(leaving) > 1 and previous >= 0:  # two parts touch here: turn right to stay on the same part
                direction = next(d for d in ((previous + 1) % 4, previous, (previous - 1) % 4) if d in leaving)
            else:
                direction = leaving[0]
            leaving.remove(direction)
            if not leaving:
                del edges[point]
            if direction != previous:
                corners.append(point)
            previous = direction
            point = (point[0] + _STEPS[direction][0], point[1] + _STEPS[direction][1])
            if point == start and (point not in edges or (direction + 1) % 4 not in edges[point]):
                break
        rings.append(np.array(corners, np.int32) + np.array([x, y], np.int32))
    return rings


def _edges(mask: npt.NDArray[np.bool_]) -> dict[tuple[int, int], list[int]]:
    """Return the directions of the edges that leave each corner."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[tuple[int, int], list[int]] = {}
    # For each side of a pixel: the neighbour beyond it, and the start corner of its edge, relative to the pixel.
    sides = (
        (padded[:-2, 1:-1], 0, 0),  # top, to the right
        (padded[1:-1, 2:], 1, 0),  # right, downwards
        (padded[2:, 1:-1], 1, 1),  # bottom, to the left
        (padded[1:-1, :-2], 0, 1),  # left, upwards
    )
    for direction, (neighbour, dx, dy) in enumerate(sides):
        rows, columns = np.nonzero(inside & ~neighbour)
        for corner in zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True):
            edges.setdefault(corner, []).append(direction)
    return edges


def signed_area(ring: npt.NDArray[np.generic]) -> float:
    """Return the area of a ring (M, 2) in px: positive for an outer ring of `outlines`, negative for a hole."""
    x, y = np.asarray(ring, np.float64).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)

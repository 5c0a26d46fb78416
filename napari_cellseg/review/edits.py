"""Edits of mask crops: pure functions on (box, mask), without a session."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.errors import AnnotationError
from napari_cellseg.review.cells import BoolMask, Box, Cell, union_box
from napari_cellseg.review.rings import fill_rings

__all__ = [
    "MAX_GAP",
    "Placed",
    "bridged",
    "cut_by_line",
    "cut_by_seeds",
    "filled",
    "grown_box",
    "joined",
    "pieces_of",
    "polygon_mask",
    "smoothed",
    "tightened",
]

MAX_GAP = 20
"""The widest gap between cells that a merge bridges, px."""

Placed = tuple[Box, BoolMask]
"""A mask crop and its box."""


def tightened(box: Box, mask: BoolMask) -> Placed | None:
    """Return the crop in its tight box; None if it has no pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return (box[0] + x0, box[1] + y0, box[0] + x1, box[1] + y1), mask[y0:y1, x0:x1].copy()


def grown_box(box: Box, margin: int, image_size: tuple[int, int]) -> Box:
    """Return a box grown by ``margin`` px on each side, clipped to the image."""
    height, width = image_size
    return max(0, box[0] - margin), max(0, box[1] - margin), min(width, box[2] + margin), min(height, box[3] + margin)


def joined(cells: Sequence[Cell]) -> Placed:
    """Return the union of cells."""
    box = union_box(cell.box for cell in cells)
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
    for cell in cells:
        x0, y0, x1, y1 = cell.box
        mask[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] |= cell.mask
    return box, mask


def bridged(cells: Sequence[Cell]) -> Placed:
    """Return the union of cells as one piece, with the gaps between them filled.

    Gaps are filled by a morphological closing (Serra, *Image Analysis and Mathematical Morphology*, 1982) with the
    smallest disk that joins the pieces: the bridge is as wide as the sides that face each other, and no pixel is
    added elsewhere.

    Raises
    ------
    AnnotationError
        The cells lie more than `MAX_GAP` px apart.
    """
    box, mask = joined(cells)
    if pieces_of(mask) == 1:
        return box, mask
    margin = MAX_GAP
    padded = np.pad(mask, margin)
    far = ndimage.distance_transform_edt(~padded)
    widest = MAX_GAP // 2 + 1
    for radius in range(1, widest + 1) if pieces_of(far <= widest) == 1 else ():
        grown = far <= radius
        closed = padded | (ndimage.distance_transform_edt(grown) > radius)
        if pieces_of(closed) == 1:
            return box, closed[margin:-margin, margin:-margin]
    names = " and ".join(f"#{cell.cell_id}" for cell in cells)
    raise AnnotationError(
        f"{names} are more than {MAX_GAP} px apart and cannot be bridged. Paint the pixels between them."
    )


def pieces_of(mask: BoolMask) -> int:
    """Return the number of 8-connected components of a mask."""
    return int(ndimage.label(mask, structure=np.ones((3, 3)))[1])


def largest_piece(mask: BoolMask) -> BoolMask:
    """Return the largest 8-connected component of a mask; an empty mask stays empty."""
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count < 2:
        return mask
    largest: BoolMask = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    return largest


def filled(mask: BoolMask) -> BoolMask:
    """Fill the holes of the mask."""
    result: BoolMask = ndimage.binary_fill_holes(mask)
    return result


def smoothed(cell: Cell, radius: float, image_size: tuple[int, int]) -> Placed | None:
    """Smooth the outline: Gaussian blur of ``radius`` px (sigma), threshold at 0.5, largest piece.

    None if nothing is left, as for a cell of a few pixels.
    """
    box = grown_box(cell.box, int(np.ceil(3 * radius)), image_size)
    mask = ndimage.gaussian_filter(cell.crop(box).astype(np.float32), radius, mode="nearest") > 0.5
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return tightened(box, mask)


def cut_by_line(cell: Cell, points: npt.ArrayLike) -> list[Placed]:
    """Split a cell along a drawn line; the pixels of the line join the nearest piece. The largest piece comes first.

    Parameters
    ----------
    cell : Cell
        What to cut.
    points : (M, 2) float
        The line as (y, x), px of the image, M >= 2. An end inside the cell is extended straight to its edge.

    Raises
    ------
    AnnotationError
        The line does not cut the cell in two.
    """
    path = _extended(cell, np.asarray(points, float).reshape(-1, 2))
    line = _rasterised(cell.box, path)
    # The line is at least 8-connected, so that no 4-connected path crosses it.
    pieces, count = ndimage.label(cell.mask & ~line)
    if count < 2:
        raise AnnotationError(
            f"The line does not cut cell #{cell.cell_id} in two; draw it across the cell, from edge to edge."
        )
    return _shared_out(cell, pieces)


def cut_by_seeds(cell: Cell, seeds: npt.ArrayLike) -> list[Placed]:
    """Split a cell where fronts that start at the seeds meet, one piece per seed. The largest piece comes first.

    A watershed of the distance transform by topographic distance (Meyer, 1994): each front starts at the peak above
    its seed and slows down where the cell is narrow. Seeds below the same peak share its pixels by distance alone;
    flooding by depth would give all of them to one seed.

    Parameters
    ----------
    cell : Cell
        What to cut.
    seeds : (M, 2) float
        Clicked points as (y, x), px of the image, M >= 2.

    Raises
    ------
    AnnotationError
        Fewer than two different seeds inside the cell.
    """
    from skimage.graph import MCP_Geometric  # 0.3 s to import

    places = np.unique(np.round(np.asarray(seeds, float).reshape(-1, 2)).astype(int), axis=0).tolist()
    starts = [(y - cell.box[1], x - cell.box[0]) for y, x in places if cell.covers(y, x)]
    if len(starts) < 2:
        raise AnnotationError(f"Click two or more different places inside cell #{cell.cell_id} to split it there.")
    depth = ndimage.distance_transform_edt(np.pad(cell.mask, 1))[1:-1, 1:-1]
    tops = [_climbed(depth, start) for start in starts]
    if len(set(tops)) == len(tops):
        starts = tops
    else:
        depth = cell.mask.astype(float)
    with np.errstate(divide="ignore"):
        slowness = np.where(cell.mask, 1 / depth**2, np.inf)
    arrival = np.stack([MCP_Geometric(slowness).find_costs([start])[0] for start in starts])
    reached = cell.mask & np.isfinite(arrival).any(0)
    return _shared_out(cell, np.where(reached, arrival.argmin(0) + 1, 0).astype(np.int32))


def polygon_mask(points: npt.ArrayLike, frame: Box) -> Placed | None:
    """Rasterise a polygon, (M, 2) float vertices as (y, x), px; None if it covers no pixel of ``frame``.

    As for all points, the centre of pixel (0, 0) is at (0, 0).
    """
    placed = fill_rings([np.asarray(points, float).reshape(-1, 2)[:, ::-1] + 0.5], frame)
    return None if placed is None else tightened(*placed)


def _climbed(depth: npt.NDArray[np.float64], start: tuple[int, int]) -> tuple[int, int]:
    """Climb from a point to the nearest peak; small bumps are smoothed away."""
    hills = np.pad(ndimage.gaussian_filter(depth, 1.5), 1, constant_values=-1.0)
    y, x = start[0] + 1, start[1] + 1
    while True:
        window = hills[y - 1 : y + 2, x - 1 : x + 2]
        dy, dx = divmod(int(window.argmax()), 3)
        if window[dy, dx] <= hills[y, x]:
            break
        y, x = y + dy - 1, x + dx - 1
    # Smoothing may move the peak outside a thin cell.
    return (y - 1, x - 1) if depth[y - 1, x - 1] > 0 else start


def _extended(cell: Cell, path: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(path) < 2 or np.allclose(path, path[0]):
        raise AnnotationError(f"Draw a line across cell #{cell.cell_id} to split it.")
    reach = float(sum(cell.mask.shape))
    ends = []
    for end, towards in ((path[0], path[1:]), (path[-1], path[-2::-1])):
        inner = next(point for point in towards if not np.allclose(point, end))
        direction = (end - inner) / np.linalg.norm(end - inner)
        inside = cell.covers(round(float(end[0])), round(float(end[1])))
        ends.append(end + direction * reach if inside else end)
    return np.concatenate([ends[:1], path, ends[1:]])


def _rasterised(box: Box, path: npt.NDArray[np.float64]) -> BoolMask:
    from skimage.draw import line

    drawn = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
    corners = np.round(path - (box[1], box[0])).astype(int)
    for (ya, xa), (yb, xb) in zip(corners[:-1].tolist(), corners[1:].tolist(), strict=True):
        y, x = line(ya, xa, yb, xb)
        inside = (y >= 0) & (y < drawn.shape[0]) & (x >= 0) & (x < drawn.shape[1])
        drawn[y[inside], x[inside]] = True
    return drawn


def _shared_out(cell: Cell, pieces: npt.NDArray[np.int32]) -> list[Placed]:
    """Assign pixels without a piece to the nearest one; return the pieces, the largest first."""
    if (pieces[cell.mask] == 0).any():
        nearest = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
        pieces = pieces[tuple(nearest)] * cell.mask
    sizes = np.bincount(pieces.ravel())
    order = [int(i) for i in np.argsort(-sizes[1:], kind="stable") + 1 if sizes[i]]
    parts = [tightened(cell.box, pieces == i) for i in order]
    return [part for part in parts if part is not None]

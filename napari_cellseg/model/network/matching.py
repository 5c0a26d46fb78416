"""Matches anchors and proposals with cells, without a matrix of all anchors x all cells.

torchvision compares every anchor with every cell: 120,000 anchors x 1,000 cells take 480 MB per copy, and several
copies exist together. Anchors lie on regular grids, so the few that can touch a cell's box follow from arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BELOW", "BETWEEN", "AnchorGrid", "match_anchors", "match_boxes", "pair_iou"]

BELOW = -1
"""No cell: the best overlap is under the low threshold (`torchvision.models.detection._utils.Matcher`)."""
BETWEEN = -2
"""Ignored: the best overlap lies between the thresholds."""

_PAIRS = 1 << 18  # pairs compared in one step, about 30 bytes each


@dataclass(frozen=True)
class AnchorGrid:
    """The anchors of one pyramid level: ``size`` (rows, columns) positions, ``stride`` (y, x) px apart, A at each.

    ``base`` (A, 4) are the anchors of position (0, 0). In the flat list of anchors they come row by row.
    """

    base: Tensor
    size: tuple[int, int]
    stride: tuple[int, int]

    def __len__(self) -> int:
        return self.size[0] * self.size[1] * len(self.base)


def match_anchors(anchors: Tensor, grids: Sequence[AnchorGrid], boxes: Tensor, high: float, low: float) -> Tensor:
    """Return for each anchor the index of its cell, `BELOW` or `BETWEEN`.

    Identical, bit by bit, to torchvision's ``Matcher(high, low, allow_low_quality_matches=True)``: an anchor belongs to
    the cell it overlaps most when that IoU is at least ``high``, or when no anchor overlaps some cell more (Ren et al.,
    NeurIPS 2015). Only a cell that touches no anchor at all differs: torchvision then matches every anchor that has
    no overlap with it; here it has none.

    Parameters
    ----------
    anchors : (A, 4) float
        All anchors, level by level, as ``grids`` describe them.
    grids : one AnchorGrid per level
    boxes : (N, 4) float
        Cells; x0, y0, x1, y1 px.
    high, low : float
        IoU thresholds.

    Returns
    -------
    (A,) int64
    """
    best = anchors.new_zeros(len(anchors))
    index = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    cell_best = anchors.new_zeros(len(boxes))
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for pair_anchor, pair_cell in _touching(grids, boxes):
        iou = pair_iou(boxes[pair_cell], anchors[pair_anchor])
        touching = iou > 0
        pair_anchor, pair_cell, iou = pair_anchor[touching], pair_cell[touching], iou[touching]
        _update_best(best, index, pair_anchor, pair_cell, iou)
        cell_best.scatter_reduce_(0, pair_cell, iou, "amax")
        promising = iou == cell_best[pair_cell]  # may still be beaten at another level
        kept.append((pair_anchor[promising], pair_cell[promising], iou[promising]))
    matches = torch.where(best < low, BELOW, torch.where(best < high, BETWEEN, index))
    for pair_anchor, pair_cell, iou in kept:
        forced = pair_anchor[iou == cell_best[pair_cell]]
        matches[forced] = index[forced]
    return matches


def match_boxes(proposals: Tensor, boxes: Tensor, high: float, low: float) -> Tensor:
    """Return for each proposal (M, 4) the index of its cell (N, 4), `BELOW` or `BETWEEN`: (M,) int64.

    As torchvision's ``Matcher`` without low-quality matches, but only a block of the M x N overlaps exists at a time.
    """
    best = proposals.new_zeros(len(proposals))
    index = torch.zeros(len(proposals), dtype=torch.int64, device=proposals.device)
    block = max(1, _PAIRS // max(1, len(proposals)))
    for start in range(0, len(boxes), block):
        overlap = pair_iou(boxes[start : start + block, None], proposals[None])
        value, cell = overlap.max(dim=0)
        better = value > best
        best = torch.where(better, value, best)
        index = torch.where(better, cell + start, index)
    return torch.where(best < low, BELOW, torch.where(best < high, BETWEEN, index))


def _update_best(best: Tensor, index: Tensor, pair_anchor: Tensor, pair_cell: Tensor, iou: Tensor) -> None:
    """Raise each anchor's best overlap in place; ties go to the lowest cell, as in ``Tensor.max``."""
    before = best[pair_anchor]
    best.scatter_reduce_(0, pair_anchor, iou, "amax")
    winner = iou == best[pair_anchor]
    pair_anchor, pair_cell, improved = pair_anchor[winner], pair_cell[winner], (iou > before)[winner]
    index[pair_anchor[improved]] = torch.iinfo(torch.int64).max
    index.scatter_reduce_(0, pair_anchor, pair_cell, "amin")


def pair_iou(first: Tensor, second: Tensor) -> Tensor:
    """`torchvision.ops.box_iou` of broadcast pairs, in the same order of operations so that no bit differs."""
    first_area = (first[..., 2] - first[..., 0]) * (first[..., 3] - first[..., 1])
    second_area = (second[..., 2] - second[..., 0]) * (second[..., 3] - second[..., 1])
    width = (torch.minimum(first[..., 2], second[..., 2]) - torch.maximum(first[..., 0], second[..., 0])).clamp(min=0)
    height = (torch.minimum(first[..., 3], second[..., 3]) - torch.maximum(first[..., 1], second[..., 1])).clamp(min=0)
    shared = width * height
    return shared / (first_area + second_area - shared)


def _touching(grids: Sequence[AnchorGrid], boxes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (anchor indices, cell indices) of all pairs whose boxes can touch, in blocks of about `_PAIRS`."""
    offset = 0
    for grid in grids:
        x_first, x_count = _span(
            boxes[:, 0], boxes[:, 2], grid.base[:, 0], grid.base[:, 2], grid.stride[1], grid.size[1]
        )
        y_first, y_count = _span(
            boxes[:, 1], boxes[:, 3], grid.base[:, 1], grid.base[:, 3], grid.stride[0], grid.size[0]
        )
        counts = x_count * y_count  # (N, A)
        for start, stop in _blocks(counts.sum(1)):
            n = counts[start:stop].reshape(-1)
            pair = torch.repeat_interleave(torch.arange(len(n), device=n.device), n)
            position = torch.arange(len(pair), device=n.device) - (n.cumsum(0) - n)[pair]
            columns = x_count[start:stop].reshape(-1)[pair]
            y = y_first[start:stop].reshape(-1)[pair] + position // columns
            x = x_first[start:stop].reshape(-1)[pair] + position % columns
            kind = len(grid.base)
            yield offset + (y * grid.size[1] + x) * kind + pair % kind, start + pair // kind
        offset += len(grid)


def _span(
    low: Tensor, high: Tensor, base_low: Tensor, base_high: Tensor, stride: int, size: int
) -> tuple[Tensor, Tensor]:
    """Return the first grid position and how many of them touch each cell along one axis, (N, A) each."""
    first = ((low[:, None] - base_high) / stride).floor().clamp(min=0, max=size - 1)
    last = ((high[:, None] - base_low) / stride).ceil().clamp(min=0, max=size - 1)
    return first.long(), (last - first + 1).long()


def _blocks(counts: Tensor) -> list[tuple[int, int]]:
    """Split the cells into runs of at most `_PAIRS` pairs (or one cell)."""
    runs, start, total = [], 0, 0
    for i, count in enumerate(counts.tolist()):
        if total and total + count > _PAIRS:
            runs.append((start, i))
            start, total = i, 0
        total += count
    if start < len(counts):
        runs.append((start, len(counts)))
    return runs

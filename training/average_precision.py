"""Average precision by COCO's rules, computed by faster-coco-eval, and the best score threshold of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster

from napari_cellseg.formats import rle
from napari_cellseg.instances import InstanceMasks

__all__ = ["LEADERBOARD_CELLS", "AveragePrecision", "Found"]

LEADERBOARD_CELLS = 100
"""Detections per image and class that COCOeval, and a leaderboard built on it, keeps by default."""

_ALL_CELLS = 1_000_000
_RARE = 5  # with fewer ground-truth cells than this, the best score threshold of a class would be chance

Found = Mapping[str, InstanceMasks]


class AveragePrecision:
    """One run of COCOeval over all classes, for 100 and for all cells per image and class."""

    def __init__(self, truth: Found, found: Found, classes: int) -> None:
        dataset: dict[str, Any] = {
            "images": [
                {"id": i, "height": cells.image_size[0], "width": cells.image_size[1]}
                for i, cells in enumerate(truth.values(), 1)
            ],
            "categories": [{"id": class_id, "name": str(class_id)} for class_id in range(1, classes + 1)],
            "annotations": _rows(list(truth.values())),
        }
        self.truth = COCO(dataset)
        self.run = COCOeval_faster(self.truth, self.truth.loadRes(_rows([found[name] for name in truth])), "segm")
        self.run.params.maxDets = [LEADERBOARD_CELLS, _ALL_CELLS]
        self.run.params.areaRng, self.run.params.areaRngLbl = [[0, 1e10]], ["all"]
        self.run.evaluate()
        self.run.accumulate()
        self.precision = np.asarray(self.run.eval["precision"])[:, :, :, 0]  # (IoU, recall, class, 100 | all)
        self.found = [found[name] for name in truth]
        self.true_counts = np.bincount(
            np.concatenate([cells.class_ids for cells in truth.values()]), minlength=classes + 1
        )

    def of_class(self, class_id: int) -> tuple[float, float, float, float]:
        """Return AP50 and AP50:95 over all cells, then by the leaderboard's rule; NaN without ground-truth cells."""
        if not self.true_counts[class_id]:
            return math.nan, math.nan, math.nan, math.nan
        curves = self.precision[:, :, class_id - 1].mean(1)  # (IoU, 100 | all)
        return float(curves[0, 1]), float(curves[:, 1].mean()), float(curves[0, 0]), float(curves[:, 0].mean())

    def best_scores(self) -> dict[int, float]:
        """Return the score threshold with the best F1 at IoU 0.5 of each class.

        A class with almost no ground-truth cell gets the threshold that is best for all cells together.
        """
        ranked = {class_id: self._hits(class_id) for class_id in range(1, len(self.true_counts))}
        everything = [np.concatenate(parts) for parts in zip(*ranked.values(), strict=True)]
        common = _best_score(everything[0], everything[1], int(self.true_counts.sum()))
        return {
            class_id: _best_score(*ranked[class_id], count) if count >= _RARE else common
            for class_id, count in enumerate(self.true_counts.tolist())
            if class_id
        }

    def _hits(self, class_id: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return score and correctness of all predicted cells of a class: greedy by score, IoU 0.5 or more."""
        all_scores, all_hits = [], []
        for image_id, cells in enumerate(self.found, 1):
            scores = np.sort(cells.scores[cells.class_ids == class_id].astype(float))[::-1]
            hits = np.zeros(len(scores), bool)
            iou = np.asarray(self.run.ious[image_id, class_id])
            taken: set[int] = set()
            for row, column in _candidates(iou):
                if not hits[row] and column not in taken:
                    hits[row] = True
                    taken.add(column)
            all_scores.append(scores)
            all_hits.append(hits)
        return np.concatenate(all_scores), np.concatenate(all_hits)


def _candidates(iou: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (predicted, ground truth) with IoU 0.5 or more, by rank of the prediction, then by falling IoU."""
    if iou.ndim != 2:
        return []
    rows, columns = np.nonzero(iou >= 0.5)
    order = np.lexsort((-iou[rows, columns], rows))
    return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))


def _best_score(scores: npt.NDArray[np.float64], hits: npt.NDArray[np.bool_], cells: int) -> float:
    if not hits.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    f1 = 2 * np.cumsum(hits[order]) / (np.arange(1, len(order) + 1) + cells)
    f1[:-1][ranked[:-1] == ranked[1:]] = 0  # a threshold cannot separate equal scores
    best = int(np.argmax(f1))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    # Halfway down to the next score, so that rounding the threshold does not lose the cell that sets it.
    return round(float((ranked[best] + max(below, ranked[best] - 0.02)) / 2), 4)


def _rows(images: Sequence[InstanceMasks]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image_id, cells in enumerate(images, 1):
        size = list(cells.image_size)
        areas = cells.areas
        for i, counts in enumerate(rle.encode_all(cells)):
            x0, y0, x1, y1 = cells.boxes[i].tolist()
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image_id,
                    "category_id": int(cells.class_ids[i]),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(areas[i]),
                    "iscrowd": 0,
                    "segmentation": {"size": size, "counts": counts},
                    "score": float(cells.scores[i]),
                }
            )
    return rows

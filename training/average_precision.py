"""Average precision by COCO's rules, computed by faster-coco-eval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from napari_cellseg.formats import rle
from napari_cellseg.instances import InstanceMasks

__all__ = ["LEADERBOARD_CELLS", "AveragePrecision", "Found"]

LEADERBOARD_CELLS = 100
"""Detections per image and class that COCOeval, and a leaderboard built on it, keeps by default."""

_ALL_CELLS = 1_000_000

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
        self.true_counts = np.bincount(
            np.concatenate([cells.class_ids for cells in truth.values()]), minlength=classes + 1
        )

    def of_class(self, class_id: int) -> tuple[float, float, float, float]:
        """Return AP50 and AP50:95 over all cells, then by the leaderboard's rule; NaN without ground-truth cells."""
        if not self.true_counts[class_id]:
            return math.nan, math.nan, math.nan, math.nan
        curves = self.precision[:, :, class_id - 1].mean(1)  # (IoU, 100 | all)
        return float(curves[0, 1]), float(curves[:, 1].mean()), float(curves[0, 0]), float(curves[:, 0].mean())


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

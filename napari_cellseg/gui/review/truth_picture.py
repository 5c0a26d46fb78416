"""The cells of a model against the labels of an image: matched, false and missed cells, as a picture and as counts."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_cellseg.instances import InstanceMasks
from training.metrics import overlaps, panoptic_counts, same_cells

__all__ = ["FALSE", "MATCHED", "MISSED", "TruthPicture", "against_labels"]

# Okabe and Ito's colours, which colour-blind people tell apart.
MATCHED, FALSE, MISSED = (86, 180, 233), (213, 94, 0), (240, 228, 66)
_FILL = 0.35


@dataclass(frozen=True, eq=False, kw_only=True)
class TruthPicture:
    """How the cells of a model agree with the labels of one image.

    Attributes
    ----------
    rgb : (H, W, 3) uint8
        The image; matched and false predictions and missed labels are drawn in their colours.
    matched, false, missed : int
        Cells of the model with and without a label of the same class (IoU above 0.5), and labels without such a cell.
    pq : float
        Panoptic quality, the mean over the classes that have a label or a cell; NaN without any.
    """

    rgb: npt.NDArray[np.uint8]
    matched: int
    false: int
    missed: int
    pq: float

    @property
    def text(self) -> str:
        """The counts, in words."""
        pq = f"PQ {self.pq:.2f}: " if math.isfinite(self.pq) else ""
        return f"{pq}{self.matched:,} matched (blue), {self.false:,} false (red), {self.missed:,} missed (yellow)"


def against_labels(
    rgb: npt.NDArray[np.uint8], labels: InstanceMasks, found: InstanceMasks
) -> Generator[None, None, TruthPicture]:
    """Match the cells of a model with labels, as evaluation does, and draw them on a copy of the image.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    labels, found : InstanceMasks
        The labels, and the cells of the model at or above its minimum scores, of that image.
    """
    yield None
    table = overlaps(labels, found)
    true, predicted = same_cells(table)
    yield None
    classes = sorted({*labels.class_ids.tolist(), *found.class_ids.tolist()})
    quality = [panoptic_counts(table, class_id).pq for class_id in classes]
    is_matched, is_met = np.zeros(len(found), bool), np.zeros(len(labels), bool)
    is_matched[predicted], is_met[true] = True, True
    picture = rgb.copy()
    for cells, colour in (
        (labels.select(~is_met), MISSED),
        (found.select(is_matched), MATCHED),
        (found.select(~is_matched), FALSE),
    ):
        _draw(picture, cells, colour)
        yield None
    return TruthPicture(
        rgb=picture,
        matched=len(predicted),
        false=len(found) - len(predicted),
        missed=len(labels) - len(true),
        pq=float(np.mean(quality)) if quality else math.nan,
    )


def _draw(picture: npt.NDArray[np.uint8], cells: InstanceMasks, colour: tuple[int, int, int]) -> None:
    for (x0, y0, x1, y1), mask in zip(cells.boxes.tolist(), cells.masks, strict=True):
        part = picture[y0:y1, x0:x1]
        part[mask] = (part[mask] * (1 - _FILL) + np.multiply(colour, _FILL)).astype(np.uint8)
        part[mask & ~ndimage.binary_erosion(np.pad(mask, 1))[1:-1, 1:-1]] = colour

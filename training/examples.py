"""Examples: images of ground-truth and predicted outlines on validation images, side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import TrainingError
from napari_cellseg.instances import InstanceMasks
from training.evaluate import Evaluation
from training.validation import Example

__all__ = ["example_picture", "outline", "write_examples"]

_LARGEST = 1000
_GAP = 8


def write_examples(
    folder: Path, epoch: int, examples: Sequence[Example], evaluation: Evaluation, classes: ClassTable
) -> None:
    """Write ``epoch<NNNN>_<image id>.png`` for each example: ground truth on the left, prediction on the right."""
    with write_errors(folder, TrainingError):
        folder.mkdir(exist_ok=True)
    limits = np.array([0.0, *(evaluation.thresholds[class_id] for class_id in classes.class_ids)])
    for example in examples:
        found = example.found.select(example.found.scores >= limits[example.found.class_ids])
        name = re.sub(r"[^\w.-]", "_", example.image_id)
        picture = Picture.fromarray(example_picture(example.rgb, example.truth, found, classes))
        with export_write(folder / f"epoch{epoch:04d}_{name}.png", error=TrainingError) as file:
            picture.save(file, "PNG")


def example_picture(
    rgb: npt.NDArray[np.uint8], truth: InstanceMasks, found: InstanceMasks, classes: ClassTable
) -> npt.NDArray[np.uint8]:
    """Return (H, 2 W + 8, 3) uint8: ground-truth and predicted outlines in class colours, cut to at most 1000 px."""
    part = np.s_[: min(_LARGEST, rgb.shape[0]), : min(_LARGEST, rgb.shape[1])]
    left, right = (outline(rgb, cells, classes)[part] for cells in (truth, found))
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], 1)


def outline(rgb: npt.NDArray[np.uint8], cells: InstanceMasks, classes: ClassTable) -> npt.NDArray[np.uint8]:
    """Return a copy of (H, W, 3) uint8 with the inner border of each cell painted in the colour of its class."""
    picture = rgb.copy()
    for i in np.argsort(cells.scores, kind="stable").tolist():
        x0, y0, x1, y1 = cells.boxes[i].tolist()
        mask = cells.masks[i]
        inner = np.pad(mask, 1)
        inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        colour = np.rint(np.multiply(classes.rgb(int(cells.class_ids[i])), 255)).astype(np.uint8)
        picture[y0:y1, x0:x1][mask & ~inner] = colour
    return picture

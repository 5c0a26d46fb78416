"""Detection targets cut from label images, one per class, and the check that stands before every tensor.

A target is a dict of tensors::

    boxes       (N, 4) float32   x0, y0, x1, y1 in px, half-open and tight
    labels      (N,)   int64     class_ids 1..K
    class_maps  (K, H, W) int32  one label image per class; 0 is background
    values      (N,)   int64     the value of each cell in class_maps[label - 1]

There is never a mask per cell: 500 cells of 1000 x 1000 px are 500 MB as masks and 16 MB so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from napari_cellseg.errors import TrainingError

__all__ = ["Target", "targets_from_maps", "validate_target"]

Target = dict[str, Tensor]


def targets_from_maps(class_maps: Tensor) -> Target:
    """Build the target of one image from its label images, so that boxes and masks cannot disagree.

    Parameters
    ----------
    class_maps : (K, H, W) int32
        Label image of each class; small values make it fast, because the time grows with the largest.

    Returns
    -------
    dict
        ``boxes``, ``labels``, ``class_maps`` (as given) and ``values``, ordered by class, then value.
    """
    boxes, labels, values = [], [], []
    for class_id, label_image in enumerate(class_maps.numpy(), start=1):
        for value, place in enumerate(ndimage.find_objects(label_image), start=1):
            if place is not None:
                rows, columns = place
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                labels.append(class_id)
                values.append(value)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "class_maps": class_maps,
        "values": torch.tensor(values, dtype=torch.int64),
    }


def validate_target(image: Tensor, target: Target, class_count: int, where: str = "the training image") -> None:
    """Stop before the model sees a wrong pair: torchvision trains on most of these without a word.

    Parameters
    ----------
    image : (3, H, W) float
        Finite values.
    target : dict
        As in this module's description.
    class_count : int
        K of the model.
    where : str
        Name of the image, for the message.

    Raises
    ------
    TrainingError
        A wrong shape or dtype, a NaN, a class outside 1..K, a box outside the image or empty, or a cell without pixels
        in its box.
    """
    problem = _image_problem(image) or _shape_problem(image, target, class_count) or _cell_problem(target, class_count)
    if problem:
        raise TrainingError(
            f"{where}: {problem}. Check its files with `napari-cellseg validate`; training on it would spoil the model."
        )


def _image_problem(image: Tensor) -> str | None:
    if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
        return f"the image is {tuple(image.shape)} {image.dtype} instead of (3, height, width) of floats"
    # The sum is NaN or infinite as soon as one value is, and takes no memory.
    return None if torch.isfinite(image.sum(dtype=torch.float64)) else "the image has NaN or infinite values"


def _shape_problem(image: Tensor, target: Target, class_count: int) -> str | None:
    missing = {"boxes", "labels", "class_maps", "values"} - target.keys()
    if missing:
        return f"the target lacks {', '.join(sorted(missing))}"
    count = len(target["labels"])
    wanted = {
        "boxes": ((count, 4), torch.float32),
        "labels": ((count,), torch.int64),
        "values": ((count,), torch.int64),
        "class_maps": ((class_count, *image.shape[1:]), torch.int32),
    }
    for name, (shape, dtype) in wanted.items():
        tensor = target[name]
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            return f"{name} is {tuple(tensor.shape)} {tensor.dtype} instead of {shape} {dtype}"
    return None


def _cell_problem(target: Target, class_count: int) -> str | None:
    boxes, labels, values = (target[name].cpu().numpy() for name in ("boxes", "labels", "values"))
    if not len(labels):
        return None
    height, width = target["class_maps"].shape[1:]
    if labels.min() < 1 or labels.max() > class_count:
        return (
            f"a cell has the class {labels[(labels < 1) | (labels > class_count)][0]}; the model has 1..{class_count}"
        )
    x0, y0, x1, y1 = boxes.T
    good = (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height) & (x1 > x0) & (y1 > y0)  # NaN is not good either
    if not good.all():
        return f"the box {boxes[np.argmin(good)].tolist()} is empty or leaves the {height} x {width} image"
    return _box_problem(target["class_maps"].cpu().numpy(), boxes, labels, values)


def _box_problem(
    class_maps: npt.NDArray[np.int32],
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    values: npt.NDArray[np.int64],
) -> str | None:
    if values.min() < 1:
        return f"a cell has the value {values.min()}; 0 is background"
    for class_id in np.unique(labels).tolist():
        places = ndimage.find_objects(class_maps[class_id - 1])
        for box, value in zip(boxes[labels == class_id], values[labels == class_id].tolist(), strict=True):
            place = places[value - 1] if value <= len(places) else None
            if place is None:
                return f"the cell {value} of class {class_id} has no pixel"
            tight = (place[1].start, place[0].start, place[1].stop, place[0].stop)
            # Half a pixel of play, for boxes that were scaled with the image.
            if np.abs(box - tight).max() > 0.5:
                return f"the box {box.tolist()} of cell {value} of class {class_id} does not fit its pixels, {tight}"
    return None

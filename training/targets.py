"""Detection targets cut from label images, one per class, and the check of every target before training.

A target is a dict of tensors::

    boxes       (N, 4) float32   x0, y0, x1, y1 in px, half-open and tight
    labels      (N,)   int64     class_ids 1..K
    class_maps  (K, H, W) int32  one label image per class; 0 is background
    values      (N,)   int64     the value of each cell in class_maps[label - 1]

Where cells of a class overlap, ``class_maps`` has more maps, (M, H, W), and the target has two more tensors::

    map_classes (M,)   int64     the class of each map: 1..K, then the classes of the further maps
    map_index   (N,)   int64     the map that contains each cell, instead of label - 1

There is never a mask per cell: 500 cells in 1000 x 1000 px take 500 MB as masks, and 16 MB as four label images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from napari_cellseg.errors import TrainingError

__all__ = ["Target", "map_classes_of", "targets_from_maps", "validate_target"]

Target = dict[str, Tensor]


def targets_from_maps(class_maps: Tensor, map_classes: Sequence[int] | None = None) -> Target:
    """Build the target of one image from its label images, so that boxes and masks agree.

    Parameters
    ----------
    class_maps : (M, H, W) int32
        Label images; keep the values small, because the time grows with the largest.
    map_classes : sequence of int, optional
        The class of each map, M; 1..M when left out.

    Returns
    -------
    dict
        ``boxes``, ``labels``, ``class_maps`` (as given) and ``values``, ordered by map, then value; ``map_classes`` and
        ``map_index`` when a class has several maps.
    """
    classes = list(range(1, len(class_maps) + 1)) if map_classes is None else list(map_classes)
    boxes, labels, values, indices = [], [], [], []
    for index, (class_id, label_image) in enumerate(zip(classes, class_maps.numpy(), strict=True)):
        for value, place in enumerate(ndimage.find_objects(label_image), start=1):
            if place is not None:
                rows, columns = place
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                labels.append(class_id)
                values.append(value)
                indices.append(index)
    several = {
        "map_classes": torch.tensor(classes, dtype=torch.int64),
        "map_index": torch.tensor(indices, dtype=torch.int64),
    }
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "class_maps": class_maps,
        "values": torch.tensor(values, dtype=torch.int64),
        **(several if len(set(classes)) < len(classes) else {}),
    }


def map_classes_of(target: Target) -> list[int]:
    """Return the class of each map of a target."""
    known = target.get("map_classes")
    found: list[int] = list(range(1, len(target["class_maps"]) + 1)) if known is None else known.tolist()
    return found


def validate_target(image: Tensor, target: Target, class_count: int, where: str = "the training image") -> None:
    """Check one image and target; torchvision trains on most wrong ones without an error.

    Parameters
    ----------
    image : (3, H, W) float
        Finite values.
    target : dict
        As described in this module.
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
    # The sum is NaN or infinite if a value is, and takes no memory.
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
    if "map_classes" in target:
        maps = len(target["map_classes"])
        wanted |= {
            "class_maps": ((maps, *image.shape[1:]), torch.int32),
            "map_classes": ((maps,), torch.int64),
            "map_index": ((count,), torch.int64),
        }
    for name, (shape, dtype) in wanted.items():
        if name not in target:
            return f"the target lacks {name}"
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
    good = (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height) & (x1 > x0) & (y1 > y0)  # False for NaN too
    if not good.all():
        return f"the box {boxes[np.argmin(good)].tolist()} is empty or leaves the {height} x {width} image"
    index = target["map_index"].cpu().numpy() if "map_index" in target else labels - 1
    classes = np.array(map_classes_of(target))
    if index.min() < 0 or index.max() >= len(classes) or (classes[index] != labels).any():
        return "a cell is in the map of another class"
    return _box_problem(target["class_maps"].cpu().numpy(), boxes, index, values, classes)


def _box_problem(
    class_maps: npt.NDArray[np.int32],
    boxes: npt.NDArray[np.float32],
    index: npt.NDArray[np.int64],
    values: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
) -> str | None:
    if values.min() < 1:
        return f"a cell has the value {values.min()}; 0 is background"
    for number in np.unique(index).tolist():
        places, class_id = ndimage.find_objects(class_maps[number]), classes[number]
        for box, value in zip(boxes[index == number], values[index == number].tolist(), strict=True):
            place = places[value - 1] if value <= len(places) else None
            if place is None:
                return f"the cell {value} of class {class_id} has no pixel"
            tight = (place[1].start, place[0].start, place[1].stop, place[0].stop)
            # Half a pixel of tolerance, for boxes that were scaled with the image.
            if np.abs(box - tight).max() > 0.5:
                return f"the box {box.tolist()} of cell {value} of class {class_id} does not fit its pixels, {tight}"
    return None

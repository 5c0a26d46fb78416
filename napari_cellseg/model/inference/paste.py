"""Resizes the mask head's small soft masks to bool crops at image resolution, each within its own box.

torchvision's ``paste_masks_in_image`` makes a float (N, H, W) stack: 2 GB for 500 cells of a 1000 px image. Here a
mask is resized within its box, so time and memory follow the area of the cells, not that of the image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_cellseg.instances import InstanceMasks

__all__ = ["paste_crops", "soft_masks"]

_GROUP_PIXELS = 1 << 20
"""Largest number of pixels per resize; keeps the working memory near 20 MiB for any number of cells."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def paste_crops(
    mask_probs: npt.ArrayLike,
    boxes: npt.ArrayLike,
    image_size: tuple[int, int],
    class_ids: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float = 0.5,
) -> InstanceMasks:
    """Resize each soft mask to its box, threshold it and clip it to the image.

    Gives the pixels of torchvision's ``paste_masks_in_image(...) > threshold``: the mask gets a border of one zero
    cell, the box grows with it, and the values are sampled bilinearly at pixel centres.

    Parameters
    ----------
    mask_probs : (N, M, M) float
        Soft masks, 0..1; a numpy array or a CPU tensor.
    boxes : (N, 4) float
        x0, y0, x1, y1 in image px; may reach beyond the image.
    image_size : (int, int)
        Height and width of the image, px.
    class_ids : (N,) int
        1..K.
    scores : (N,) float
        0..1.
    threshold : float
        A pixel whose value is above it belongs to the cell.

    Returns
    -------
    InstanceMasks
        In the given order, with tight boxes; empty cells are dropped.
    """
    masks = np.asarray(mask_probs, np.float32)
    count = len(masks)
    if not count:
        return InstanceMasks.empty(image_size)
    frames = _frames(np.asarray(boxes, np.float32).reshape(-1, 4), masks.shape[-1])
    tight = np.zeros((count, 4), np.int64)
    crops: list[npt.NDArray[np.bool_] | None] = [None] * count
    for group in _groups(frames):
        corner, pasted = _resize(masks[group], frames[group], image_size, threshold)
        inside = _tight(pasted)
        tight[group] = inside + np.tile(corner, 2)
        for k, i in enumerate(group.tolist()):
            x0, y0, x1, y1 = inside[k].tolist()
            if x1 > x0:
                crops[i] = pasted[k, y0:y1, x0:x1].copy()  # a view would keep the memory of its whole group
    kept = np.array([i for i in range(count) if crops[i] is not None], np.intp)
    found = tuple(crop for crop in crops if crop is not None)
    return InstanceMasks(
        image_size=image_size,
        boxes=tight[kept].astype(np.int32),
        class_ids=np.asarray(class_ids)[kept],
        scores=np.asarray(scores)[kept],
        masks=found,
    )


def soft_masks(mask_probs: Floats, boxes: Floats, size: tuple[int, int]) -> Floats:
    """Resize each soft mask to its box in a small image: (N, height, width) float32, 0 outside the box.

    Parameters
    ----------
    mask_probs : (N, M, M) float32
        Soft masks, 0..1.
    boxes : (N, 4) float32
        x0, y0, x1, y1 in px of that image; may reach beyond it.
    size : (int, int)
        Height and width of the image, px; the result has N times its pixels.
    """
    frames = _frames(boxes, mask_probs.shape[-1])
    height, width = size
    rows = _sampled(np.arange(height)[None], frames[:, 1], frames[:, 3], mask_probs.shape[-2])
    columns = _sampled(np.arange(width)[None], frames[:, 0], frames[:, 2], mask_probs.shape[-1])
    soft: Floats = np.matmul(rows @ mask_probs, columns.transpose(0, 2, 1))
    return soft


def _frames(boxes: Floats, resolution: int) -> Ints:
    """Return the pixel frames (N, 4) x0, y0, x1, y1, half-open, of the masks with their zero border."""
    scale = np.float32((resolution + 2) / resolution)
    half = (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5) * scale
    centre = (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5)
    corners = np.concatenate([centre - half, centre + half], 1).astype(np.int64)  # towards zero, as in torchvision
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2]) + 1
    return corners


def _groups(frames: Ints) -> list[npt.NDArray[np.intp]]:
    """Split the masks into groups of similar size, so that padding wastes little memory."""
    widths, heights = frames[:, 2] - frames[:, 0], frames[:, 3] - frames[:, 1]
    order = np.lexsort((widths, np.maximum(widths, heights)))
    groups, start = [], 0
    while start < len(order):
        # Frames grow along `order`, so the last of a group bounds all of it.
        ends = np.arange(start + 1, min(start + 128, len(order)) + 1)
        longest = np.maximum(widths, heights)[order[ends - 1]]
        fits = (ends - start) * longest**2 <= _GROUP_PIXELS
        stop = start + max(1, int(np.count_nonzero(fits)))
        groups.append(order[start:stop])
        start = stop
    return groups


def _resize(
    masks: Floats, frames: Ints, image_size: tuple[int, int], threshold: float
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return the corners (n, 2) x, y and the bool masks (n, h, w), padded with False to one shape."""
    height, width = image_size
    rows = _weights(frames[:, 1], frames[:, 3], height, masks.shape[-2])
    columns = _weights(frames[:, 0], frames[:, 2], width, masks.shape[-1])
    soft: Floats = np.matmul(rows[1] @ masks, columns[1].transpose(0, 2, 1))
    return np.stack([columns[0], rows[0]], 1), np.greater(soft, threshold)


def _weights(low: Ints, high: Ints, limit: int, resolution: int) -> tuple[Ints, Floats]:
    """Weights of bilinear sampling along one axis: ``(first pixel (n,), weights (n, pixels, resolution))``.

    The zero border needs no column of its own: it adds nothing. Pixels outside the image or the frame weigh zero.
    """
    first, last = np.maximum(low, 0), np.minimum(high, limit)
    pixels = first[:, None] + np.arange(max(1, int((last - first).max())))
    weights = _sampled(pixels, low, high, resolution)
    weights[pixels >= last[:, None]] = 0
    return first, weights


def _sampled(pixels: Ints, low: Ints, high: Ints, resolution: int) -> Floats:
    """Return the weights (n, p, resolution) of pixels (n or 1, p); those outside the frame weigh zero."""
    scale = (np.float32(resolution + 2) / (high - low).astype(np.float32))[:, None]
    sampled = ((pixels - low[:, None]).astype(np.float32) + np.float32(0.5)) * scale - np.float32(1.5)
    weights: Floats = 1 - np.abs(sampled[:, :, None] - np.arange(resolution, dtype=np.float32))
    np.maximum(weights, 0, out=weights)
    return weights


def _tight(masks: npt.NDArray[np.bool_]) -> Ints:
    """Return x0, y0, x1, y1 of the True pixels of each of (n, h, w) masks; all 0 for an empty one."""
    rows, columns = np.any(masks, 2), np.any(masks, 1)
    bounds: Ints = np.stack([columns.argmax(1), rows.argmax(1), _last(columns), _last(rows)], 1)
    bounds[~np.any(rows, 1)] = 0
    return bounds


def _last(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return one more than the position of the last True in each row of (n, k)."""
    ends: npt.NDArray[np.intp] = flags.shape[1] - np.argmax(flags[:, ::-1], 1)
    return ends

"""Copy cells to free places in their image, so that rare classes are seen more often and in other surroundings.

Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation" (CVPR 2021), with the
class of each copied cell drawn with equal probability. Cells stay in their own image, so slides are not mixed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.dataset import TrainingImage

__all__ = ["copy_cells"]

_SOFT_EDGE = 0.7
"""Width (Gaussian sigma, px) over which a copied cell fades into its surroundings: a network would learn hard edges."""


def copy_cells(image: TrainingImage, count: int, rng: np.random.Generator) -> TrainingImage:
    """Return the image with up to ``count`` more cells; copies that would touch another cell are left out.

    Parameters
    ----------
    image : TrainingImage
        Not changed.
    count : int
        Copies to try.
    rng : numpy.random.Generator
        Chooses cells, places, flips and turns.
    """
    if not image.cell_count or not count:
        return image
    rgb = image.rgb.copy()
    class_maps = {class_id: label_image.copy() for class_id, label_image in image.class_maps.items()}
    taken = np.logical_or.reduce([label_image > 0 for _, label_image in image.label_images])
    areas = {class_id: list(values) for class_id, values in image.areas.items()}
    centres = {class_id: list(values) for class_id, values in image.centres.items()}
    classes = sorted(class_maps)
    for _ in range(count):
        class_id = int(rng.choice(classes))
        number = int(rng.integers(1, len(image.centres[class_id]) + 1))
        place = image.places[class_id][number - 1]
        patch, mask = _turned(image.rgb[place], image.class_maps[class_id][place] == number, rng)
        corner = [int(rng.integers(0, max(1, full - side))) for full, side in zip(taken.shape, mask.shape, strict=True)]
        there = tuple(slice(start, start + side) for start, side in zip(corner, mask.shape, strict=True))
        around = tuple(
            slice(max(0, start - 1), start + side + 1) for start, side in zip(corner, mask.shape, strict=True)
        )
        if taken[around].any() or taken[there].shape != mask.shape:
            continue
        opacity = ndimage.gaussian_filter(mask.astype(np.float32), _SOFT_EDGE)[..., None]
        rgb[there] = np.rint(opacity * patch + (1 - opacity) * rgb[there])
        class_maps[class_id][there][mask] = len(centres[class_id]) + 1
        taken[there] |= mask
        areas[class_id].append(int(mask.sum()))
        centres[class_id].append(np.argwhere(mask).mean(0) + corner)
    return replace(
        image,
        rgb=rgb,
        class_maps=class_maps,
        areas={class_id: np.array(values) for class_id, values in areas.items()},
        centres={class_id: np.array(values) for class_id, values in centres.items()},
    )


def _turned(
    patch: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    patch, mask = np.rot90(patch, quarters), np.rot90(mask, quarters)
    return (patch[:, ::-1], mask[:, ::-1]) if mirrored else (patch, mask)

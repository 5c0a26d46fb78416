"""The regions of interest of training images: only what lies in them is trained on and evaluated.

The region of an image is in ``region.json`` next to the image, as *Export* writes it, or else in the annotations of the
project that holds the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review.region import Region, inside, placed_region
from napari_cellseg.wording import counted
from napari_cellseg.workspace.about_lines import read_region
from napari_cellseg.workspace.annotations import read_header
from napari_cellseg.workspace.places import annotations_file, state_folder

__all__ = ["in_region", "region_of", "within_regions"]

LabelImage = npt.NDArray[Any]


def region_of(image: Path, ids: Mapping[Path, str]) -> Region:
    """Return the region of an image; ``ids`` has its image_id in each folder that may be its project.

    Raises
    ------
    AnnotationError
        A file is damaged.
    """
    exported = read_region(image.parent)
    if exported:
        return exported
    for folder, image_id in ids.items():
        for is_inside in (True, False):
            path = annotations_file(state_folder(folder, inside=is_inside), image_id)
            if path.is_file():
                return read_header(path).about.region
    return ()


def in_region(
    rgb: npt.NDArray[np.uint8], label_images: Iterable[tuple[int, LabelImage]], region: Region, image: object
) -> tuple[npt.NDArray[np.uint8], Iterator[tuple[int, LabelImage]]]:
    """Cut an image and its label images to the bounding box of a region; ``image`` names them in errors.

    Pixels of the box outside a polygon get the mean colour of the region and no cell: a cell that no one annotated must
    not be seen as background.

    Raises
    ------
    AnnotationError
        The region covers no pixel of the image.
    """
    if not region:
        return rgb, iter(label_images)
    placed = placed_region(region, (rgb.shape[0], rgb.shape[1]))
    if placed is None:
        raise AnnotationError(f"The region of interest of {image} lies outside it. Draw it again in Review.")
    (x0, y0, x1, y1), mask = placed
    part = rgb[y0:y1, x0:x1].copy()  # the box may be all of the image, which is not ours to change
    part[~mask] = part[mask].mean(0).round().astype(np.uint8)
    return part, ((class_id, np.where(mask, labels[y0:y1, x0:x1], 0)) for class_id, labels in label_images)


Cells = Mapping[str, InstanceMasks]


def within_regions(
    regions: Mapping[str, Region], truth: Cells, found: Cells
) -> tuple[dict[str, InstanceMasks], dict[str, InstanceMasks], str]:
    """Return the cells that lie, by half of their pixels or more, in the regions, and a sentence about the others.

    The sentence is empty if no image has a region.
    """
    kept, lost = [], []
    for cells_of in (truth, found):
        rest = {name: cells.select(inside(cells, regions.get(name, ()))) for name, cells in cells_of.items()}
        kept.append(rest)
        lost.append(sum(map(len, cells_of.values())) - sum(map(len, rest.values())))
    images = sum(name in truth for name in regions)
    text = (
        f"{counted(images, 'image')} with a region of interest: {lost[0]:,} ground-truth and {lost[1]:,} predicted "
        "cells outside are not counted."
    )
    return kept[0], kept[1], text if images else ""

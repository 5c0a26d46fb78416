"""The whole cells of a training folder where cells of one class overlap, from the ``instances.json`` of an import.

A label image has one cell per pixel, so that overlapping cells lose pixels in ``class*.tif``. The import writes all
cells whole to ``instances.json``. It counts for an image as long as the label images show the same cells: a correction
of the label images after the import takes precedence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.coco import read_dataset
from napari_cellseg.formats.label_images import from_instances, read_class_images
from napari_cellseg.formats.layers import covered
from napari_cellseg.importers.write import EXACT_NAME
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import listed

__all__ = ["exact_cells"]


def exact_cells(root: Path, images: Sequence[Path]) -> tuple[dict[Path, InstanceMasks], tuple[str, ...]]:
    """Return the cells of the images of a training folder in which cells of a class overlap, and remarks about them.

    Raises
    ------
    AnnotationError
        ``instances.json`` is damaged.
    """
    path = root / EXACT_NAME
    if not path.is_file():
        return {}, ()
    whole = _overlapping(path)
    found, changed = {}, []
    for image in images:
        cells = whole.get(image.relative_to(root).as_posix())
        if cells is None:
            continue
        if _shows(image.parent, cells):
            found[image] = cells
        else:
            changed.append(image.parent.name)
    if not changed:
        return found, ()
    remark = (
        f"The label images of {listed(changed, 3)} were changed after {path.name} was written, and are used; there, "
        "overlapping cells of one class lack pixels."
    )
    return found, (remark,)


def _overlapping(path: Path) -> dict[str, InstanceMasks]:
    """Return the cells of each image in which cells of a class overlap, by the file name in the data set."""
    dataset = read_dataset(path)
    cells = {image.file_name: dataset.instances(image) for image in dataset.images}
    return {name: found for name, found in cells.items() if covered(found).cells}


def _shows(folder: Path, cells: InstanceMasks) -> bool:
    """Return whether the label images of a folder show these cells, with any values."""
    try:
        on_disk = read_class_images(folder, cells.image_size)
    except AnnotationError:  # reported when they are read
        return False
    class_ids = sorted({*on_disk, *cells.class_ids.tolist()})
    painted = from_instances(cells, class_ids)
    return all(_same_regions(painted[class_id], on_disk.get(class_id)) for class_id in class_ids)


def _same_regions(first: npt.NDArray[Any], second: npt.NDArray[Any] | None) -> bool:
    """Return whether two label images have the same background and cells; their values may differ."""
    if second is None:
        return not first.any()
    if not np.array_equal(first > 0, second > 0):
        return False
    inside = first > 0
    pairs = np.unique(np.stack([first[inside], second[inside]]), axis=1)
    return bool(len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1])))

"""The ground truth of a data set."""

from __future__ import annotations

from collections.abc import Container

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.label_images import to_instances
from napari_cellseg.images.formats import image_size
from napari_cellseg.instances import InstanceMasks
from training.dataset import DataSource, label_images_of

__all__ = ["has_names", "truth_of"]


def truth_of(source: DataSource, only: Container[str] | None = None) -> dict[str, InstanceMasks]:
    """Return the annotated cells of each image by image id; of those in ``only``, if given.

    Raises
    ------
    AnnotationError
        A label image cannot be read or has another size than its image.
    ImageReadError
        The header of an image cannot be read.
    """
    truth = {}
    for sample in source.samples:
        if only is not None and sample.image_id not in only:
            continue
        size = image_size(sample.image)
        cells = sample.cells
        truth[sample.image_id] = to_instances(dict(label_images_of(sample, size)), size) if cells is None else cells
    return truth


def has_names(source: DataSource) -> bool:
    """Return whether the classes were named; otherwise there may be more classes than those with cells."""
    return source.classes != ClassTable.numbered(len(source.classes))

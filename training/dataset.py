"""Training data on disk: find the samples, and decode one into pixels and compact label images.

A data folder holds ``train/<id>/`` or ``<id>/`` folders, each with ``image.tif`` and ``class1.tif`` ... ``classK.tif``
(an absent file means no cell of that class), or is one COCO JSON file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari_cellseg.image_io import read_tiff
from napari_cellseg.label_images import read_class_images

from napari_cellseg.errors import AnnotationError

__all__ = ["Sample", "TrainingImage", "compact_labels", "find_samples", "read_sample"]

LabelImage = npt.NDArray[Any]


@dataclass(frozen=True, order=True)
class Sample:
    """Where one training image and its cells lie; small, picklable, nothing decoded.

    Attributes
    ----------
    image_id : str
        Unique in the data set.
    image : Path
        The image file.
    """

    image_id: str
    image: Path

    @property
    def folder(self) -> Path:
        """Folder of the image and its class files."""
        return self.image.parent


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """One decoded training image: what the loader keeps in memory, 3 + 2K bytes a pixel at most.

    Attributes
    ----------
    image_id : str
    rgb : (H, W, 3) uint8
    class_maps : dict of (H, W) uint16 or int32
        Label image of each class that has cells, by class_id; cells are numbered 1..n without gaps. A class without
        cells takes no memory.
    areas : dict of (n + 1,) int64
        Pixels of each cell, by class_id and cell number; ``[0]`` is 0.
    centres : dict of (n, 2) float64
        Mean y, x of each cell, px; cell number ``i`` is row ``i - 1``.
    """

    image_id: str
    rgb: npt.NDArray[np.uint8]
    class_maps: Mapping[int, LabelImage]
    areas: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    centres: Mapping[int, npt.NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def from_label_images(
        cls, image_id: str, rgb: npt.NDArray[np.uint8], label_images: Mapping[int, LabelImage]
    ) -> TrainingImage:
        """Build from label images with any whole numbers."""
        class_maps, areas, centres = {}, {}, {}
        for class_id, label_image in label_images.items():
            compact = compact_labels(label_image)
            if compact is not None:
                class_maps[class_id], areas[class_id], centres[class_id] = compact
        return cls(image_id, rgb, class_maps, areas, centres)

    @cached_property
    def cell_count(self) -> int:
        """Cells of all classes."""
        return sum(len(centres) for centres in self.centres.values())

    @property
    def nbytes(self) -> int:
        """Memory of the pixels and label images, bytes."""
        return self.rgb.nbytes + sum(label_image.nbytes for label_image in self.class_maps.values())


def compact_labels(
    label_image: LabelImage,
) -> tuple[LabelImage, npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    """Renumber the cells of a label image 1..n in the smallest dtype; None when there is no cell.

    Returns
    -------
    label_image : (H, W) uint16 or int32
    areas : (n + 1,) int64
    centres : (n, 2) float64
        Mean y, x.
    """
    places = np.flatnonzero(label_image)
    if not len(places):
        return None
    values = label_image.reshape(-1)[places]
    if values.max() < 2**22:  # a table of that size is faster than sorting
        present = np.bincount(values.astype(np.intp)) > 0
        count = int(np.count_nonzero(present))
        numbers = np.cumsum(present)[values]
    else:
        unique, inverse = np.unique(values, return_inverse=True)
        count, numbers = len(unique), inverse + 1
    compact = np.zeros(label_image.shape, np.uint16 if count < 2**16 else np.int32)
    compact.reshape(-1)[places] = numbers
    areas = np.bincount(numbers, minlength=count + 1)
    rows, columns = np.divmod(places, label_image.shape[1])
    sums = np.stack([np.bincount(numbers, weights=part)[1:] for part in (rows, columns)], 1)
    return compact, areas, sums / areas[1:, None]


def find_samples(data: Path) -> tuple[Sample, ...]:
    """List the samples of a data folder, ordered by image_id; an `AnnotationError` when there are none."""
    data = Path(data)
    if not data.is_dir():
        raise AnnotationError(f"There is no data folder {data}.")
    root = data / "train" if (data / "train").is_dir() else data
    images = sorted(root.glob("*/image.tif"))
    if not images:
        raise AnnotationError(
            f"{root} holds no training image. Each needs its own folder with image.tif and class1.tif, class2.tif, ..."
        )
    return tuple(Sample(image.parent.name, image) for image in images)


def read_sample(sample: Sample) -> TrainingImage:
    """Decode one sample.

    Raises
    ------
    ImageReadError
        The image cannot be read.
    AnnotationError
        The label images are wrong.
    """
    rgb = read_tiff(sample.image).rgb()
    label_images = read_class_images(sample.folder, rgb.shape[:2])
    return TrainingImage.from_label_images(sample.image_id, rgb, label_images)

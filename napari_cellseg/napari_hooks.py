"""The functions that napari calls outside the docks: the reader and the sample data of the manifest.

There is no writer: napari would use one of ``.tif`` or ``.json`` for the Labels layers of every other plugin too.

Imports neither Qt nor torch, so that opening a file with this plugin stays quick.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.formats.label_images import (
    from_instances,
)
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue, ihc
from napari_cellseg.importers import ImportOptions, import_annotations
from napari_cellseg.instances import InstanceMasks

__all__ = ["get_reader", "sample_ihc", "sample_tissue"]

logger = logging.getLogger(__name__)

LayerData = tuple[Any, dict[str, Any], str]

_HEAD_BYTES = 4096


# ---- readers ----


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return a reader of COCO data sets called ``*coco.json``; None for anything else."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_can_read(Path(each)) for each in paths) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read files that `get_reader` accepted: the first image of each data set, and one Labels layer per class.

    Raises
    ------
    CellSegError
        A file is damaged or not a COCO data set.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for each in paths for layer in _read_coco(Path(each))]


def _can_read(path: Path) -> bool:
    if not path.name.lower().endswith("coco.json") or not path.is_file():
        return False
    with path.open("rb") as file:  # a COCO data set is recognised near its start
        return re.search(rb'"(images|categories|annotations|info|licenses)"\s*:', file.read(_HEAD_BYTES)) is not None


def _image_layer(path: Path, name: str) -> LayerData:
    image = read_image(path)
    options: dict[str, Any] = {"name": name, "metadata": {"path": str(path)}}
    if image.pixel_size_um is not None:
        options |= {"scale": (image.pixel_size_um,) * 2, "units": ("um", "um")}
    if image.choices[0] == 1 and image.choices[1] in (1, 3):
        return image.rgb(), options | {"rgb": True}, "image"
    leading = image.pixels.ndim - 2 - image.axes.endswith("S")
    if "scale" in options:
        options |= {"scale": (1,) * leading + options["scale"], "units": ("pixel",) * leading + options["units"]}
    return image.pixels, options | {"rgb": image.axes.endswith("S")}, "image"


def _read_coco(path: Path) -> list[LayerData]:
    result = import_annotations(path, ImportOptions(need_images=False))
    for text in (*map(str, result.left_out), *result.notes):
        logger.warning("%s", text)
    layers: list[LayerData] = []
    for image in result.images[:1]:
        if image.path is not None:
            layers.append(_image_layer(image.path, image.path.stem))
        layers += _label_layers(image.cells, result.classes)
    return layers


def _label_layers(instances: InstanceMasks, classes: ClassTable) -> list[LayerData]:
    label_images = from_instances(instances, classes.class_ids)
    layers = []
    for class_id, name, _ in classes:
        of_class = instances.class_ids == class_id
        features = {"index": instances.values[of_class], "score": instances.scores[of_class]}
        layers.append(_label_layer(label_images[class_id], class_id, name, features))
    return layers


def _label_layer(label_image: Any, class_id: int, name: str, features: dict[str, Any] | None = None) -> LayerData:
    options = {"name": name, "metadata": {"class_id": class_id}, "features": features or {}}
    return np.asarray(label_image, np.int32), options, "labels"


# ---- samples ----


def sample_ihc() -> list[LayerData]:
    """Return scikit-image's photograph of stained colon tissue."""
    return [(ihc(), {"name": "colon IHC", "rgb": True}, "image")]


def sample_tissue() -> list[LayerData]:
    """Return synthetic tissue with nuclei of four classes, and their ground-truth masks."""
    rgb, truth = generate_tissue()
    return [(rgb, {"name": "generated tissue", "rgb": True}, "image"), *_label_layers(truth, TISSUE_CLASSES)]

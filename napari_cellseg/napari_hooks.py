"""What napari calls outside of the docks: readers, writers and sample data of the manifest.

Imports neither Qt nor torch, so that opening a file with this plugin stays quick.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CellSegError, ExportError
from napari_cellseg.formats.coco import read_dataset
from napari_cellseg.formats.coco_results import result_rows
from napari_cellseg.formats.coco_results import write_results as write_results_files
from napari_cellseg.formats.label_images import (
    from_instances,
    read_label_image,
    to_instances,
)
from napari_cellseg.formats.label_images import (
    write_class_images as write_files,
)
from napari_cellseg.images.read import list_images, read_tiff
from napari_cellseg.images.samples import TISSUE_CLASSES, generate_tissue, ihc
from napari_cellseg.instances import InstanceMasks

__all__ = ["get_reader", "sample_ihc", "sample_tissue", "write_class_images", "write_results"]

LayerData = tuple[Any, dict[str, Any], str]

_HEAD_BYTES = 4096


# ---- readers ----


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return a reader of a TIFF, a folder of images, or a COCO data set; None for anything else."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_can_read(Path(each)) for each in paths) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read what `get_reader` accepted as layers of napari.

    A folder gives its first image with the class layers beside it; the *Open* dock works through all of them.

    Raises
    ------
    CellSegError
        A file is damaged, or not what it looks like.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for each in paths for layer in _read_one(Path(each))]


def _can_read(path: Path) -> bool:
    if path.is_dir():
        try:
            return bool(list_images(path))
        except CellSegError:
            return False
    if path.suffix.lower() == ".json":
        with path.open("rb") as file:  # a COCO data set says so near its start
            return (
                re.search(rb'"(images|categories|annotations|info|licenses)"\s*:', file.read(_HEAD_BYTES)) is not None
            )
    return path.suffix.lower() in (".tif", ".tiff")


def _read_one(path: Path) -> list[LayerData]:
    if path.suffix.lower() == ".json":
        return _read_coco(path)
    if path.is_dir():
        first = list_images(path)[0]
        return [_image_layer(first.path, first.image_id), *_class_layers_beside(first.path)]
    if re.fullmatch(r"class\d+", path.stem, re.IGNORECASE):
        return [_label_layer(read_label_image(path), int(path.stem[5:]), path.stem)]
    return [_image_layer(path, path.stem)]


def _image_layer(path: Path, name: str) -> LayerData:
    image = read_tiff(path)
    options: dict[str, Any] = {"name": name, "metadata": {"path": str(path)}}
    if image.pixel_size_um is not None:
        options |= {"scale": (image.pixel_size_um,) * 2, "units": ("um", "um")}
    if image.planes == 1:
        return image.rgb(), options | {"rgb": True}, "image"
    leading = image.pixels.ndim - 2 - image.axes.endswith("S")
    if "scale" in options:
        options |= {"scale": (1,) * leading + options["scale"], "units": ("pixel",) * leading + options["units"]}
    return image.pixels, options | {"rgb": image.axes.endswith("S")}, "image"


def _class_layers_beside(image: Path) -> Iterator[LayerData]:
    for path in sorted(image.parent.glob("class*.tif")):
        if image.stem.lower() == "image" and re.fullmatch(r"class\d+\.tif", path.name):
            yield _label_layer(read_label_image(path), int(path.stem[5:]), path.stem)


def _read_coco(path: Path) -> list[LayerData]:
    dataset = read_dataset(path)
    layers: list[LayerData] = []
    for image in dataset.images[:1]:
        file = path.parent / image.file_name
        if file.is_file():
            layers.append(_image_layer(file, image.image_id))
        layers += _label_layers(dataset.instances(image), dataset.classes)
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


# ---- writers ----


def write_class_images(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write each Labels layer as ``class<k>.tif`` into the folder named like ``path`` without its suffix.

    Raises
    ------
    CellSegError
        The layers differ in size, or cannot be written.
    """
    return [str(file) for file in write_files(Path(path).with_suffix(""), _instances_of(layers))]


def write_results(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write all Labels layers as one ``test-results.json`` (and ``.zip``) into the folder of ``path``; image_id 1.

    Raises
    ------
    CellSegError
        The layers differ in size, or cannot be written.
    """
    folder = Path(path).parent
    written = write_results_files(folder, result_rows(_instances_of(layers), 1))
    return [str(written), str(written.with_suffix(".zip"))]


def _instances_of(layers: Sequence[LayerData]) -> InstanceMasks:
    arrays = [np.asarray(data) for data, _, kind in layers if kind == "labels"]
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 2:
        raise ExportError("The label layers must be two-dimensional and of one size; save the others on their own.")
    parts = []
    for number, ((_, options, _), array) in enumerate(zip(layers, arrays, strict=True), start=1):
        class_id = int(options.get("metadata", {}).get("class_id", number))
        cells = to_instances({class_id: array}, array.shape)
        parts.append(_with_scores(cells, options.get("features")))
    return InstanceMasks.concatenate(parts)


def _with_scores(cells: InstanceMasks, features: Any) -> InstanceMasks:
    if features is None or not {"index", "score"} <= set(features):
        return cells
    by_value = dict(zip(np.asarray(features["index"]).tolist(), np.asarray(features["score"]).tolist(), strict=True))
    scores = np.array([by_value.get(value, 1.0) for value in cells.values.tolist()], np.float32)
    return InstanceMasks(cells.image_size, cells.boxes, cells.class_ids, scores, cells.masks, cells.values)


# ---- samples ----


def sample_ihc() -> list[LayerData]:
    """Return scikit-image's photograph of stained colon tissue."""
    return [(ihc(), {"name": "colon IHC", "rgb": True}, "image")]


def sample_tissue() -> list[LayerData]:
    """Return drawn tissue with nuclei of four classes, and their true masks."""
    rgb, truth = generate_tissue()
    return [(rgb, {"name": "generated tissue", "rgb": True}, "image"), *_label_layers(truth, TISSUE_CLASSES)]

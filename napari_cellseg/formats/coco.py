"""Reads and writes COCO files: lists of images, results (``test-results.json``) and data sets.

Only this module and the two modules it re-exports convert a class_id to a ``category_id``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError
from napari_cellseg.formats.coco_images import (
    ImageId,
    check_unique,
    image_id_of,
    read_image_ids,
    write_image_ids,
    write_json,
)
from napari_cellseg.formats.coco_results import (
    RESULTS_NAME,
    Problem,
    check_results,
    read_results,
    result_rows,
    write_results,
)
from napari_cellseg.formats.json_gate import read_json, short
from napari_cellseg.formats.label_images import LARGEST_VALUE
from napari_cellseg.formats.outlines import outlines, signed_area
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.formats.polygon_mask import decode_polygons
from napari_cellseg.formats.rle import Decoded, decode, decode_all, encode_all
from napari_cellseg.instances import InstanceMasks

__all__ = [
    "RESULTS_NAME",
    "CocoDataset",
    "ImageId",
    "Problem",
    "annotation_rows",
    "category_rows",
    "check_results",
    "image_rows",
    "read_dataset",
    "read_image_ids",
    "read_results",
    "result_rows",
    "write_dataset",
    "write_image_ids",
    "write_results",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """Images, their classes and their cells.

    Attributes
    ----------
    images : tuple of ImageId
    classes : ClassTable
    cells : mapping
        The cells of each image, by ``ImageId.id``; an absent image has none.
    details : mapping
        More fields of each cell of an image, in the order of its cells, by ``ImageId.id``; not read back.
    image_details : mapping
        More fields of an image, by ``ImageId.id``; not read back.
    """

    images: tuple[ImageId, ...]
    classes: ClassTable
    cells: Mapping[int, InstanceMasks] = field(default_factory=dict)
    details: Mapping[int, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    image_details: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def instances(self, image: ImageId) -> InstanceMasks:
        """Return the cells of an image."""
        return self.cells.get(image.id) or InstanceMasks.empty(image.size)


def write_dataset(path: str | os.PathLike[str], dataset: CocoDataset, *, polygons: bool = False) -> None:
    """Write a COCO data set.

    Parameters
    ----------
    path : path
        Of the JSON file; its folder must exist.
    dataset : CocoDataset
    polygons : bool
        Write outlines instead of RLE. COCO polygons cannot have holes, so holes are filled; RLE is exact.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    annotations: list[dict[str, Any]] = []
    for image in dataset.images:
        annotations += annotation_rows(
            dataset.instances(image),
            image.id,
            dataset.details.get(image.id) or (),
            first_id=len(annotations) + 1,
            polygons=polygons,
        )
    images = image_rows(dataset.images, dataset.image_details)
    data = {"images": images, "categories": category_rows(dataset.classes), "annotations": annotations}
    write_json(Path(path), data)


def image_rows(
    images: Iterable[ImageId], details: Mapping[int, Mapping[str, Any]] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Return the "images" of a data set; ``details`` are more fields by ``ImageId.id``."""
    return [
        {"id": i.id, "file_name": i.file_name, "height": i.height, "width": i.width} | dict(details.get(i.id, {}))
        for i in images
    ]


def category_rows(classes: ClassTable) -> list[dict[str, Any]]:
    """Return the "categories" of a data set."""
    return [{"id": i, "name": name, "supercategory": "cell", "colour": colour} for i, name, colour in classes]


def annotation_rows(
    instances: InstanceMasks,
    image_id: int,
    details: Sequence[Mapping[str, str]] = (),
    *,
    first_id: int = 1,
    polygons: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield the "annotations" of cells, numbered from ``first_id``; ``details`` are more fields of each."""
    more: Iterable[Mapping[str, str]] = details or repeat({})
    rows = zip(_annotations(instances, polygons=polygons), more, strict=False)
    for number, (annotation, about) in enumerate(rows, start=first_id):
        yield {"id": number, "image_id": image_id, **annotation, **about}


def _annotations(instances: InstanceMasks, *, polygons: bool) -> Iterable[dict[str, Any]]:
    x0, y0, x1, y1 = instances.boxes.T
    boxes = np.stack([x0, y0, x1 - x0, y1 - y0], 1).tolist()
    size = list(instances.image_size)
    for i, counts in enumerate(encode_all(instances)):
        rings = outlines(instances.masks[i], *boxes[i][:2]) if polygons else []
        yield {
            "category_id": int(instances.class_ids[i]),
            "bbox": boxes[i],
            "area": int(np.count_nonzero(instances.masks[i])),
            "iscrowd": 0,
            "segmentation": [ring.ravel().tolist() for ring in rings if signed_area(ring) > 0]
            or {"size": size, "counts": counts},
            "score": float(str(instances.scores[i])),
            "label_id": int(instances.values[i]),
        }


def read_dataset(path: str | os.PathLike[str]) -> CocoDataset:
    """Read a COCO data set with polygons or RLE.

    Category ids need not be 1..K: class_ids follow their ascending order. Crowd regions are left out.

    Raises
    ------
    AnnotationError
        The file is not a COCO data set, or an annotation is invalid.
    """
    path = Path(path)
    data = read_json(path, nan="keep")
    lists = {key: data.get(key) if isinstance(data, dict) else None for key in ("images", "categories", "annotations")}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise AnnotationError(f"{path} is not a COCO data set: it has no list of {key}.")
    rows = {key: value or [] for key, value in lists.items()}
    images = tuple(image_id_of(row, f"{path}, image {n}") for n, row in enumerate(rows["images"], start=1))
    check_unique(images, path)
    classes, class_ids = _read_categories(rows["categories"], path)
    cells = _read_annotations(rows["annotations"], {image.id: image for image in images}, class_ids, path)
    return CocoDataset(images, classes, cells)


def _read_categories(rows: list[Any], path: Path) -> tuple[ClassTable, dict[int, int]]:
    for row in rows:
        if not isinstance(row, dict) or type(row.get("id")) is not int or not isinstance(row.get("name"), str):
            raise AnnotationError(f"{path}: a category needs a whole number as id and a name, not {short(row)}.")
    rows = sorted(rows, key=lambda row: int(row["id"]))
    class_ids = {row["id"]: i for i, row in enumerate(rows, start=1)}
    if len(class_ids) != len(rows):
        raise AnnotationError(f"{path}: two categories have the same id.")
    colours = tuple(str(row.get("colour", "")) for row in rows)
    try:
        return ClassTable(tuple(row["name"] for row in rows), colours if all(colours) else ()), class_ids
    except ConfigError as error:
        raise AnnotationError(f"{path}: {error}") from error


def _read_annotations(
    rows: list[Any], images: Mapping[int, ImageId], class_ids: Mapping[int, int], path: Path
) -> dict[int, InstanceMasks]:
    found: dict[int, list[tuple[Decoded, int, float, int]]] = {image_id: [] for image_id in images}
    for number, row in enumerate(rows):
        where = f"{path}, annotation {number}"
        if not isinstance(row, dict) or not _is_key(row.get("image_id"), images):
            raise AnnotationError(f"{where}: it belongs to no image of the file.")
        if not _is_key(row.get("category_id"), class_ids):
            raise AnnotationError(f"{where}: there is no category {short(row.get('category_id'))}.")
    budget = PixelBudget(path.stat().st_size)
    quick = _decode_texts(rows, images, budget.left)
    for number, row in enumerate(rows):
        where = f"{path}, annotation {number}"
        if row.get("iscrowd"):
            logger.warning("%s: a crowd region is left out", where)
            continue
        cells = found[row["image_id"]]
        image = images[row["image_id"]]
        decoded = quick[number] if number in quick else _decode_any(row.get("segmentation"), image, where)
        label_value, score = row.get("label_id", len(cells) + 1), row.get("score", 1.0)
        is_value = type(label_value) is int and 0 <= label_value <= LARGEST_VALUE
        if not is_value or type(score) not in (int, float) or not 0 <= score <= 1:
            raise AnnotationError(
                f"{where}: label_id must be a whole number from 0 to {LARGEST_VALUE}, and score lie in 0..1."
            )
        if decoded is None:
            logger.warning("%s: an empty mask is left out", where)
            continue
        try:
            budget.take(decoded[1].size)
        except AnnotationError as error:
            raise AnnotationError(f"{where}: {error}.") from error
        cells.append((decoded, class_ids[row["category_id"]], score, label_value))
    return {image_id: _join(images[image_id], cells) for image_id, cells in found.items()}


def _is_key(value: object, table: Mapping[int, Any]) -> bool:
    return type(value) is int and value in table


def _decode_texts(
    rows: list[dict[str, Any]], images: Mapping[int, ImageId], most_pixels: int
) -> dict[int, Decoded | None]:
    """Decode all compressed RLE in one pass, by row; nothing if one is invalid, which `_decode_any` then reports."""
    chosen: dict[int, tuple[str, tuple[int, int]]] = {}
    for number, row in enumerate(rows):
        image, segmentation = images[row["image_id"]], row.get("segmentation")
        if isinstance(segmentation, dict) and segmentation.get("size") == list(image.size):
            counts = segmentation.get("counts")
            if isinstance(counts, str):
                chosen[number] = counts, image.size
    try:
        decoded = decode_all(
            [counts for counts, _ in chosen.values()], [size for _, size in chosen.values()], most_pixels=most_pixels
        )
    except AnnotationError:
        return {}
    return dict(zip(chosen, decoded, strict=True))


def _decode_any(segmentation: Any, image: ImageId, where: str) -> Decoded | None:
    """Decode compressed RLE, run lengths or polygons."""
    try:
        if isinstance(segmentation, dict):
            if segmentation.get("size") != list(image.size):
                raise AnnotationError(
                    f"the mask's size {short(segmentation.get('size'))} is not the image's {image.size}."
                )
            return decode(segmentation.get("counts", ""), image.size)
        return decode_polygons(segmentation, image.size)
    except AnnotationError as error:
        raise AnnotationError(f"{where}: {error}") from error
    except (TypeError, ValueError) as error:
        raise AnnotationError(f"{where}: its segmentation is neither RLE nor polygons.") from error


def _join(image: ImageId, cells: list[tuple[Decoded, int, float, int]]) -> InstanceMasks:
    if not cells:
        return InstanceMasks.empty(image.size)
    decoded, class_ids, scores, values = zip(*cells, strict=True)
    return InstanceMasks(
        image_size=image.size,
        boxes=np.stack([box for box, _ in decoded]),
        class_ids=np.array(class_ids),
        scores=np.array(scores, np.float32),
        masks=tuple(mask for _, mask in decoded),
        label_values=np.array(values, np.int64),
    )

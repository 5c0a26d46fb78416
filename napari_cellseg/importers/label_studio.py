"""Label Studio's own JSON: tasks with polygons, brush masks and ellipses; lengths are percent of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.drawing import Drawn, cell_of_mask, drawn, ellipse
from napari_cellseg.importers.matching import draft_of
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source
from napari_cellseg.wording import counted

__all__ = ["find", "read"]

_IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".svs", ".ndpi", ".jp2")


def find(source: Source) -> list[Path]:
    """Return the JSON files with a list of tasks."""
    return [file for file in source.named(".json") if _tasks(source, file)]


def _tasks(source: Source, file: Path) -> list[Any]:
    try:
        data = source.json(file)
    except AnnotationError:
        return []
    tasks = data if isinstance(data, list) else [data]
    return tasks if any(_is_task(task) for task in tasks) else []


def _is_task(task: Any) -> bool:
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and isinstance(_versions(task), list)


def _versions(task: Mapping[str, Any]) -> Any:
    return task.get("annotations", task.get("completions"))


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read of each image the annotation marked as ground truth, or the first one that was not skipped."""
    for file in files:
        name, number, predictions = source.shown(file), 0, 0
        for task in _tasks(source, file):
            if not _is_task(task):
                number += 1
                _reject(collector, name, number, None, "it is no task with an image and annotations")
                continue
            versions = [version for version in _versions(task) if isinstance(version, dict)]
            predictions += len(task.get("predictions") or ()) if isinstance(task.get("predictions"), list) else 0
            chosen = _chosen(versions)
            draft = draft_of(source, collector, name, _image_name(task["data"]), _size(chosen))
            for version in _versions(task):
                number = _read_version(collector, name, number, draft, version, chosen)
        if predictions:
            collector.note(f"{name}: {counted(predictions, 'prediction')} of a model in Label Studio; none is read.")
        source.forget(file)


def _chosen(versions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    sound = [version for version in versions if not version.get("was_cancelled")]
    return next((version for version in sound if version.get("ground_truth")), sound[0] if sound else {})


def _image_name(data: Mapping[str, Any]) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    named = [value for value in texts.values() if value.lower().split("&")[0].endswith(_IMAGE_SUFFIXES)]
    return texts.get("image") or (named[0] if named else next(iter(texts.values()), ""))


def _regions(version: Mapping[str, Any]) -> list[Any]:
    regions = version.get("result")
    return regions if isinstance(regions, list) else []


def _size(version: Mapping[str, Any]) -> tuple[int, int] | None:
    for region in _regions(version):
        size = (region.get("original_height"), region.get("original_width")) if isinstance(region, dict) else (0, 0)
        if all(type(side) is int and side > 0 for side in size):
            return size  # type: ignore[return-value]
    return None


def _reject(collector: Collector, file: str, number: int, draft: Draft | None, reason: str) -> None:
    """Count what is no region as one left-out row."""
    with collector.row(file, number, draft):  # which takes the error
        raise Unusable(reason)


def _read_version(
    collector: Collector, file: str, number: int, draft: Draft, version: Any, chosen: Mapping[str, Any]
) -> int:
    """Read the regions of one annotator; return the number of the last row."""
    if not isinstance(version, dict):
        _reject(collector, file, number + 1, draft, "it is no annotation")
        return number + 1
    regions = _regions(version)
    # A tool without labels of its own writes each region twice: its shape, and its label under the same id.
    shapes = {region.get("id") for region in regions if _has_shape(region) and isinstance(region.get("id"), str)}
    for region in regions:
        number += 1
        with collector.row(file, number, draft) as row:
            if version is not chosen:
                skipped = version.get("was_cancelled")
                raise Unusable(
                    "it was skipped in Label Studio" if skipped else "another annotation of its image is read"
                )
            collector.check(draft)
            value = region["value"]
            if not _has_shape(region) or (region.get("type") == "labels" and _twin(regions, region)):
                if region.get("id") in shapes:
                    row.join()
                    continue
                raise Unusable(f"it is of the type {region.get('type')!r:.40}, which has no area")
            cell, remark = _drawn(value, region, draft.size)
            row.keep(_class_name(regions, region), cell, remark=remark)
    return number


def _has_shape(region: Any) -> bool:
    value = region.get("value") if isinstance(region, dict) else None
    return isinstance(value, dict) and ("points" in value or "rle" in value or "x" in value)


def _twin(regions: Sequence[Any], region: Mapping[str, Any]) -> bool:
    return any(
        other is not region and _has_shape(other) and other.get("id") == region.get("id") and other["type"] != "labels"
        for other in regions
    )


def _class_name(regions: Sequence[Any], region: Mapping[str, Any]) -> str:
    for other in (region, *(other for other in regions if isinstance(other, dict))):
        value = other.get("value")
        if other is not region and (other.get("id") != region.get("id") or region.get("id") is None):
            continue
        labels = [names for key, names in value.items() if key.endswith("labels")] if isinstance(value, dict) else []
        if labels and isinstance(labels[0], list) and labels[0]:
            return str(labels[0][0])
    raise Unusable("it has no label")


def _drawn(value: Mapping[str, Any], region: Mapping[str, Any], size: tuple[int, int]) -> Drawn:
    height, width = size
    if region.get("image_rotation"):
        raise Unusable("it was drawn on a rotated view of the image")
    if "rle" in value:
        return cell_of_mask(_brush(value["rle"], size)), ""
    if "points" in value:
        return drawn([[[[x * width / 100, y * height / 100] for x, y in value["points"]]]], size)
    if "radiusX" in value:
        across, down = value["radiusX"] * width / 100, value["radiusY"] * height / 100
        angle = math.radians(value.get("rotation") or 0)
        return drawn([[ellipse(value["x"] * width / 100, value["y"] * height / 100, across, down, angle)]], size)
    if "height" in value:
        raise Unusable("it is a box without a mask")
    raise Unusable("it is a point, which has no area")


def _brush(packed: Any, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Decode the run lengths of Label Studio (the format of thi.ng/rle-pack) to a mask (H, W).

    A stream of bits: number of values (32), bits per value less 1 (5), four widths of counts less 1 (4 each); then
    blocks: repeated or not (1), which width (2), count less 1, and one value or ``count`` values. The values are RGBA.
    """
    bits = np.unpackbits(np.array(packed, np.uint8))
    place = 0

    def number(width: int) -> int:
        nonlocal place
        if place + width > len(bits):
            raise Unusable("its brush mask ends too early")
        place += width
        return int.from_bytes(np.packbits(np.pad(bits[place - width : place], (-width % 8, 0))).tobytes(), "big")

    total, value_bits = number(32), number(5) + 1
    if total != 4 * size[0] * size[1] or value_bits != 8:
        raise Unusable(f"its brush mask has another size than the image, {size[0]} x {size[1]} px")
    widths = [number(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, np.uint8), 0
    while done < total:
        repeated = number(1)
        end = done + number(widths[number(2)]) + 1
        count = 1 if repeated else end - done
        if end > total or place + 8 * count > len(bits):
            raise Unusable("its brush mask does not fill the image")
        values[done:end] = np.packbits(bits[place : place + 8 * count])
        place, done = place + 8 * count, end
    mask: npt.NDArray[np.bool_] = values.reshape(*size, 4)[..., 3] > 0
    return mask

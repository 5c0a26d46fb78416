"""VGG Image Annotator (VIA 1 and 2): its project file, and the annotations it exports as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cellseg.errors import AnnotationError
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.drawing import Drawn, drawn, ellipse
from napari_cellseg.importers.matching import draft_of
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_CLASS_NAMES = ("class", "type", "label", "category", "cell", "cell type", "name", "object", "nucleus")


def find(source: Source) -> list[Path]:
    """Return the JSON files with regions of images."""
    return [file for file in source.named(".json") if _entries(source, file)]


def _entries(source: Source, file: Path) -> list[Mapping[str, Any]]:
    try:
        data = source.json(file)
    except AnnotationError:
        return []
    data = data.get("_via_img_metadata", data) if isinstance(data, dict) else None
    entries = list(data.values()) if isinstance(data, dict) else []
    fits = all(isinstance(entry, dict) and "filename" in entry and "regions" in entry for entry in entries)
    return entries if fits else []


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read the regions of all images; the class is the attribute with that name, or the most frequent attribute."""
    for file in files:
        name, entries = source.shown(file), _entries(source, file)
        regions = [(entry, region) for entry in entries for region in _regions(entry)]
        attribute = _class_attribute([region for _, region in regions])
        drafts = {id(entry): draft_of(source, collector, name, str(entry["filename"])) for entry in entries}
        for number, (entry, region) in enumerate(regions, start=1):
            draft = drafts[id(entry)]
            with collector.row(name, number, draft) as row:
                collector.check(draft)
                cell, remark = _drawn(region["shape_attributes"], draft.size)
                row.keep(_class_name(region, attribute), cell, remark=remark)
        source.forget(file)


def _regions(entry: Mapping[str, Any]) -> list[Any]:
    regions = entry["regions"]
    if isinstance(regions, dict):  # VIA 1
        return list(regions.values())
    return regions if isinstance(regions, list) else [regions] if regions else []


def _class_attribute(regions: Sequence[Any]) -> str:
    counts: Counter[str] = Counter()
    for region in regions:
        attributes = region.get("region_attributes") if isinstance(region, dict) else None
        counts.update(key for key, value in attributes.items() if value) if isinstance(attributes, dict) else None
    named = [key for key in counts if key.strip().lower() in _CLASS_NAMES]
    return max(named or counts, key=lambda key: counts[key], default="")


def _class_name(region: Mapping[str, Any], attribute: str) -> str:
    if not attribute:
        return "cell"
    value = (region.get("region_attributes") or {}).get(attribute)
    if isinstance(value, dict):  # a check box
        value = ", ".join(key for key, ticked in value.items() if ticked)
    if not value:
        raise Unusable(f"its attribute {attribute!r} is empty")
    return str(value)


def _drawn(shape: Mapping[str, Any], size: tuple[int, int]) -> Drawn:
    kind = shape["name"]
    if kind == "polygon":
        xs, ys = shape["all_points_x"], shape["all_points_y"]
        return drawn([[[value for point in zip(xs, ys, strict=True) for value in point]]], size)
    if kind == "circle":
        return drawn([[ellipse(shape["cx"], shape["cy"], shape["r"], shape["r"])]], size)
    if kind == "ellipse":
        angle = float(shape.get("theta") or 0)  # radians
        return drawn([[ellipse(shape["cx"], shape["cy"], shape["rx"], shape["ry"], angle)]], size)
    if kind == "rect":
        raise Unusable("it is a box without a mask")
    raise Unusable(f"it is a {kind}, which has no area")

"""VGG Image Annotator 3: a project with tables of files, views, attributes and metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cellseg.errors import AnnotationError
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.drawing import Drawn, drawn, ellipse
from napari_cellseg.importers.matching import draft_of
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_TABLES = ("file", "metadata", "attribute")
_CIRCLE, _ELLIPSE, _POLYGON = 3, 4, 7
_OTHER_KINDS = {1: "point", 5: "line", 6: "polyline"}
_BOXES = (2, 8)


def find(source: Source) -> list[Path]:
    """Return the JSON files with the tables of a project."""
    return [file for file in source.named(".json") if _is_project(source, file)]


def _is_project(source: Source, file: Path) -> bool:
    try:
        data = source.json(file)
    except AnnotationError:
        return False
    return isinstance(data, dict) and all(isinstance(data.get(key), dict) for key in _TABLES)


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read all regions; the class is the attribute that most regions have."""
    for file in files:
        data, name = source.json(file), source.shown(file)
        images = {
            key: draft_of(source, collector, name, str(row.get("fname") or row.get("src") or ""))
            for key, row in data["file"].items()
            if isinstance(row, dict)
        }
        attribute = _class_attribute(data)
        for number, region in enumerate(data["metadata"].values(), start=1):
            draft = _draft_of_region(data, region, images)
            with collector.row(name, number, draft) as row:
                if not isinstance(region, dict):
                    raise Unusable("it is no region")
                if draft is None:
                    raise Unusable("its image is not in the file")
                collector.check(draft)
                cell, remark = _drawn(region["xy"], draft.size)
                row.keep(_class_name(data, region, attribute), cell, remark=remark)
        source.forget(file)


def _draft_of_region(data: Mapping[str, Any], region: Any, images: Mapping[str, Draft]) -> Draft | None:
    view_id = str(region.get("vid")) if isinstance(region, dict) else ""
    views = data.get("view")
    view = views.get(view_id) if isinstance(views, dict) else {"fid_list": [view_id]}
    files = view.get("fid_list") if isinstance(view, dict) else None
    return images.get(str(files[0])) if isinstance(files, list) and len(files) == 1 else None


def _class_attribute(data: Mapping[str, Any]) -> str:
    counts: Counter[str] = Counter()
    for region in data["metadata"].values():
        values = region.get("av") if isinstance(region, dict) and region.get("xy") else None
        counts.update(key for key, value in values.items() if value not in ("", None)) if isinstance(
            values, dict
        ) else None
    return max(counts, key=lambda key: counts[key], default="")


def _class_name(data: Mapping[str, Any], region: Mapping[str, Any], attribute: str) -> str:
    if not attribute:
        return "cell"
    value = (region.get("av") or {}).get(attribute)
    described = data["attribute"].get(attribute) or {}
    if value in ("", None):
        raise Unusable(f"its attribute {described.get('aname', attribute)!r:.40} is empty")
    options = described.get("options") or {}
    return ", ".join(str(options.get(part, part)) for part in str(value).split(",")) if options else str(value)


def _drawn(shape: Sequence[Any], size: tuple[int, int]) -> Drawn:
    if not shape:
        raise Unusable("it describes a whole image, not a region")
    kind, numbers = shape[0], list(shape[1:])
    if kind == _POLYGON:
        return drawn([[numbers]], size)
    if kind == _CIRCLE:
        x, y, radius = numbers
        return drawn([[ellipse(x, y, radius, radius)]], size)
    if kind == _ELLIPSE:
        x, y, across, down = numbers
        return drawn([[ellipse(x, y, across, down)]], size)
    if kind in _BOXES:
        raise Unusable("it is a box without a mask")
    raise Unusable(f"it is a {_OTHER_KINDS.get(kind, 'shape of an unknown kind')}, which has no area")

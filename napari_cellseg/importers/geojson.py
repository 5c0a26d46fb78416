"""GeoJSON as QuPath writes it: detections and annotations with class and colour, holes, several polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cellseg.errors import AnnotationError
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.drawing import Drawn, drawn
from napari_cellseg.importers.matching import draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_NO_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")
_ENDINGS = ("_detections", "_annotations", "_cells", "-detections", "-annotations", " detections", " annotations")


def find(source: Source) -> list[Path]:
    """Return the files with features."""
    return [file for file in source.named(".geojson", ".json") if _features(source, file) is not None]


def _features(source: Source, file: Path) -> list[Any] | None:
    try:
        data = source.json(file)
    except AnnotationError:
        return None
    if isinstance(data, dict) and data.get("type") == "FeatureCollection" and isinstance(data.get("features"), list):
        found: list[Any] = data["features"]
        return found
    if isinstance(data, dict) and data.get("type") == "Feature":
        return [data]
    if isinstance(data, list) and any(isinstance(row, dict) and row.get("type") == "Feature" for row in data):
        return data
    return None


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read one image per file, with the same name."""
    for file in files:
        features, name = _features(source, file) or [], source.shown(file)
        draft = draft_of_stem(source, collector, file, *_stems(file))
        has_detections = any(_kind(feature) in ("detection", "cell") for feature in features)
        for number, feature in enumerate(features, start=1):
            with collector.row(name, number, draft) as row:
                collector.check(draft)
                properties = feature.get("properties") or {}
                class_name, colour = _classification(properties)
                if has_detections and _kind(feature) == "annotation" and not class_name:
                    raise Unusable("it is a region around the detections: an annotation without a class")
                cell, remark = _drawn(feature["geometry"], draft.size)
                score, value = _measurements(properties)
                row.keep(class_name or "cell", cell, score=score, value=value, remark=remark)
                collector.declare(class_name or "cell", colour)
        source.forget(file)


def _stems(file: Path) -> list[str]:
    stem = file.name
    for suffix in (".geojson", ".json"):
        stem = stem.removesuffix(suffix)
    return [stem, *(stem.removesuffix(ending) for ending in _ENDINGS if stem.endswith(ending))]


def _kind(feature: Any) -> str:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        return ""
    return str(properties.get("objectType") or properties.get("object_type") or "").lower()


def _classification(properties: Mapping[str, Any]) -> tuple[str, str]:
    found = properties.get("classification")
    if isinstance(found, str):
        return found.strip(), ""
    if not isinstance(found, dict):
        return "", ""
    names = found.get("names")
    name = found.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else "")
    return str(name or "").strip(), _colour(found)


def _colour(classification: Mapping[str, Any]) -> str:
    colour, packed = classification.get("color"), classification.get("colorRGB")
    if isinstance(colour, list) and len(colour) >= 3 and all(type(part) is int and 0 <= part < 256 for part in colour):
        return "#" + bytes(colour[:3]).hex()
    return f"#{packed & 0xFFFFFF:06x}" if type(packed) is int else ""


def _measurements(properties: Mapping[str, Any]) -> tuple[Any, Any]:
    found = properties.get("measurements")
    if isinstance(found, list):  # of QuPath 0.2 and 0.3
        found = {row.get("name"): row.get("value") for row in found if isinstance(row, dict)}
    return (found.get("score"), found.get("label_id")) if isinstance(found, dict) else (None, None)


def _drawn(geometry: Any, size: tuple[int, int]) -> Drawn:
    if not isinstance(geometry, dict):
        raise Unusable("it has no outline")
    polygons = list(_polygons(geometry))
    if not polygons:
        raise Unusable(f"it is a {geometry.get('type')}, which has no area")
    return drawn(polygons, size)


def _polygons(geometry: Mapping[str, Any]) -> list[Any]:
    kind = geometry["type"]
    if kind == "Polygon":
        return [geometry["coordinates"]]
    if kind == "MultiPolygon":
        return list(geometry["coordinates"])
    if kind == "GeometryCollection":
        return [polygon for part in geometry["geometries"] for polygon in _polygons(part)]
    if kind in _NO_AREA:
        return []
    raise Unusable(f"its geometry {kind!r:.40} is not known")

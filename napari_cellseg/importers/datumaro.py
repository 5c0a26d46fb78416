"""Datumaro's own JSON: items with polygons and masks, one file per subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.rle import decode
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.drawing import Drawn, drawn, encloses, joined
from napari_cellseg.importers.matching import draft_of
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]


def find(source: Source) -> list[Path]:
    """Return the JSON files with a list of items and a table of categories."""
    return [file for file in source.named(".json") if _is_datumaro(source, file)]


def _is_datumaro(source: Source, file: Path) -> bool:
    try:
        data = source.json(file)
    except AnnotationError:
        return False
    return isinstance(data, dict) and isinstance(data.get("items"), list) and isinstance(data.get("categories"), dict)


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read all items; parts with the same group and label are one cell, and a box around them is not another one."""
    for file in files:
        data, name, number = source.json(file), source.shown(file), 0
        labels = _labels(data["categories"])
        for label in labels:
            collector.declare(label)
        for item in data["items"]:
            if not isinstance(item, dict):
                number += 1
                with collector.row(name, number, None):  # which takes the error
                    raise Unusable("it is no item")
        for item in (item for item in data["items"] if isinstance(item, dict)):
            annotations = item.get("annotations")
            draft = _draft(source, collector, name, item)
            first: dict[tuple[int, int], int] = {}
            rows = list(enumerate(annotations if isinstance(annotations, list) else [], start=number + 1))
            number += len(rows)
            for place, annotation in sorted(rows, key=_is_box):  # when the boxes come, their cells are known
                _read_row(collector, name, place, draft, annotation, labels, first)
        source.forget(file)


def _is_box(row: tuple[int, Any]) -> bool:
    return isinstance(row[1], dict) and row[1].get("type") == "bbox"


def _labels(categories: Mapping[str, Any]) -> list[str]:
    label = categories.get("label")
    rows = label.get("labels") if isinstance(label, dict) else None
    return (
        [str(row.get("name") or "") if isinstance(row, dict) else "" for row in rows] if isinstance(rows, list) else []
    )


def _draft(source: Source, collector: Collector, file: str, item: Mapping[str, Any]) -> Draft:
    media = item.get("image") or item.get("media") or {}
    media = media if isinstance(media, dict) else {}
    name = str(media.get("path") or item.get("id") or "")
    size = media.get("size")
    known = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    draft = draft_of(source, collector, file, name, (size[0], size[1]) if known else None)  # type: ignore[index]
    if draft.problem and draft.path is None:  # the id is a path without a suffix
        path = source.images.find_stem(Path(name).name, source.root)
        if path is not None:
            collector.drafts.remove(draft)
            return draft_of(source, collector, file, path.as_posix(), None)
    return draft


def _read_row(
    collector: Collector,
    file: str,
    number: int,
    draft: Draft,
    annotation: Any,
    labels: Sequence[str],
    first: dict[tuple[int, int], int],
) -> None:
    with collector.row(file, number, draft) as row:
        collector.check(draft)
        label_id, group = annotation.get("label_id"), annotation.get("group") or 0
        if annotation["type"] == "bbox" and group and (group, label_id) in first:
            x, y, width, height = annotation["bbox"]
            if encloses((x, y, x + width, y + height), draft.cells[first[group, label_id]][1]):
                row.join()
                return
        cell, remark = _drawn(annotation, draft.size)
        if type(label_id) is not int or not 0 <= label_id < len(labels):
            raise Unusable(f"there is no label {label_id!r:.40}")
        if group and (group, label_id) in first and cell is not None:
            place = first[group, label_id]
            before = draft.cells[place]
            draft.cells[place] = (before[0], joined(before[1], cell), *before[2:])
            row.join()
            return
        row.keep(labels[label_id], cell, score=(annotation.get("attributes") or {}).get("score"), remark=remark)
        if group:
            first[group, label_id] = len(draft.cells) - 1


def _drawn(annotation: Mapping[str, Any], size: tuple[int, int]) -> Drawn:
    kind = annotation["type"]
    if kind == "polygon":
        return drawn([[annotation["points"]]], size)
    if kind == "mask":
        rle = annotation["rle"]
        if list(rle["size"]) != list(size):
            raise Unusable(f"its mask has the size {rle['size']!r:.40}, the image {list(size)}")
        return decode(rle["counts"], size), ""
    if kind == "bbox":
        raise Unusable("it is a box without a mask")
    raise Unusable(f"it is a {kind}, which has no mask")

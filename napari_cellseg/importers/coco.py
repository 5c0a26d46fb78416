"""COCO data sets as CVAT, Label Studio, Roboflow, VIA, COCO-annotator, Datumaro and FiftyOne write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.rle import Decoded, decode, decode_all
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.drawing import Drawn, drawn
from napari_cellseg.importers.matching import draft_of
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source
from napari_cellseg.wording import counted

__all__ = ["find", "read"]

_MOST_AT_ONCE = 2**29
"""Most px that are decoded in one pass; more are decoded one by one, as far as they are allowed."""


def find(source: Source) -> list[Path]:
    """Return the JSON files with lists of images and annotations."""
    return [file for file in source.named(".json") if _is_coco(source, file)]


def _is_coco(source: Source, file: Path) -> bool:
    try:
        data = source.json(file)
    except AnnotationError:
        return False
    return isinstance(data, dict) and all(isinstance(data.get(key), list) for key in ("images", "annotations"))


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read all files; classes with the same name are one class."""
    for file in files:
        _read_file(source, file, collector)
        source.forget(file)


def _read_file(source: Source, file: Path, collector: Collector) -> None:
    data, name = source.json(file), source.shown(file)
    rows = data["annotations"]
    classes = _read_categories(data.get("categories"), rows, name, collector)
    drafts = _read_images(data["images"], source, name, collector)
    quick = _decode_texts(rows, drafts)
    crowds, ids = 0, Counter(key_of(row.get("id")) for row in rows if isinstance(row, dict))
    for number, row in enumerate(rows, start=1):
        draft = drafts.get(key_of(row.get("image_id")) or "") if isinstance(row, dict) else None
        with collector.row(name, number, draft) as entry:
            if not isinstance(row, dict):
                raise Unusable("it is no annotation")
            if draft is None:
                raise Unusable("its image is not in the file")
            collector.check(draft)
            class_name = classes.get(key_of(row.get("category_id")) or "")
            if class_name is None:
                raise Unusable(f"there is no category {row.get('category_id')!r:.40}")
            cell, remark = quick[number] if number in quick else _cell(row, draft.size)
            entry.keep(class_name, cell, score=row.get("score"), value=row.get("label_id"), remark=remark)
            crowds += bool(row.get("iscrowd"))
    doubled = sum(count - 1 for key, count in ids.items() if key is not None and count > 1)
    if doubled:
        collector.note(f"{name}: {counted(doubled, 'annotation')} with the id of another one; all are read.")
    if crowds:
        collector.note(
            f"{name}: {counted(crowds, 'annotation')} marked iscrowd 1, as CVAT marks every brush mask; read as cells."
        )


def key_of(value: Any) -> str | None:
    """Return an id as text, so that 3, 3.0 and "3" are equal; None if the value is not an id."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value).strip() or None


def _read_categories(rows: Any, annotations: Sequence[Any], file: str, collector: Collector) -> dict[str, str]:
    """Declare the classes in the order of their ids; return their names by `key_of` the id."""
    found: dict[str, tuple[str, str, str]] = {}
    for row in rows if isinstance(rows, list) else []:
        key = key_of(row.get("id")) if isinstance(row, dict) else None
        if key is None or not isinstance(row.get("name", ""), str | int):
            collector.note(f"{file}: the category {row!r:.60} has no id and name; it is left out.")
            continue
        name = str(row.get("name") or "").strip() or f"class {key}"
        if key in found and found[key][0] != name:
            collector.note(f"{file}: the category id {key} is used twice; {found[key][0]!r} is used, not {name!r}.")
            continue
        colour = row.get("colour") or row.get("color")
        found[key] = name, str(row.get("supercategory") or ""), colour if isinstance(colour, str) else ""
    used = {key_of(row.get("category_id")) for row in annotations if isinstance(row, dict)}
    names = [name for name, _, _ in found.values()]
    for key in sorted(found, key=_by_number):
        name, _, colour = found[key]
        others = [parent for other, (_, parent, _) in found.items() if other != key]
        if key not in used and others and all(parent == name for parent in others):
            collector.note(
                f"{file}: the category {name!r} is only the group of the others and has no cells; it is not a class."
            )
            continue
        collector.declare(name, colour)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        collector.note(f"{file}: several categories are named {', '.join(doubled)}; each name is one class.")
    return {key: name for key, (name, _, _) in found.items()}


def _by_number(key: str) -> tuple[int, float, str]:
    try:
        return 0, float(key), key
    except ValueError:
        return 1, 0.0, key


def _read_images(rows: Sequence[Any], source: Source, file: str, collector: Collector) -> dict[str, Draft]:
    found: dict[str, Draft] = {}
    for number, row in enumerate(rows, start=1):
        key = key_of(row.get("id")) if isinstance(row, dict) else None
        name = _file_name(row) if key is not None else None
        if key is None or name is None:
            collector.note(f"{file}: image {number} has no id and file name; it is left out.")
            continue
        draft = draft_of(source, collector, file, name, _size_of(row))
        if key in found and found[key] is not draft:
            draft = found[key]
            draft.problem = draft.problem or f"two images have its image id {key}"
        found[key] = draft
    return found


def _file_name(row: Mapping[str, Any]) -> str | None:
    return next((row[key] for key in ("file_name", "path", "name") if isinstance(row.get(key), str) and row[key]), None)


def _size_of(row: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = row.get("height"), row.get("width")
    try:
        size = round(float(height)), round(float(width))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def _decode_texts(rows: Sequence[Any], drafts: Mapping[str, Draft]) -> dict[int, Drawn]:
    """Decode all compressed RLE in one pass, by row number; nothing if one is invalid, which `_cell` then reports."""
    chosen: dict[int, tuple[str, tuple[int, int]]] = {}
    for number, row in enumerate(rows, start=1):
        segmentation = row.get("segmentation") if isinstance(row, dict) else None
        draft = drafts.get(key_of(row.get("image_id")) or "") if isinstance(segmentation, dict) else None
        if draft is None or draft.problem or not isinstance(segmentation, dict):
            continue
        counts = segmentation.get("counts")
        if isinstance(counts, str) and counts and segmentation.get("size") == list(draft.size):
            chosen[number] = counts, draft.size
    try:
        texts, sizes = [counts for counts, _ in chosen.values()], [size for _, size in chosen.values()]
        decoded = decode_all(texts, sizes, most_pixels=_MOST_AT_ONCE)
    except AnnotationError:
        return {}
    return {number: (cell, "") for number, cell in zip(chosen, decoded, strict=True)}


def _cell(row: Mapping[str, Any], size: tuple[int, int]) -> Drawn:
    segmentation = row.get("segmentation")
    if isinstance(segmentation, list) and len(segmentation) == 1 and isinstance(segmentation[0], dict):
        segmentation = segmentation[0]
    if isinstance(segmentation, dict):
        return _of_rle(segmentation, size), ""
    if not segmentation or row.get("isbbox") is True:
        raise Unusable("it is a box without a mask" if row.get("bbox") else "it has no mask")
    if not isinstance(segmentation, list):
        raise Unusable("its segmentation is neither RLE nor polygons")
    if all(isinstance(value, int | float) for value in segmentation):  # VIA: one polygon, not in a separate list
        segmentation = [segmentation]
    return drawn([[ring] for ring in segmentation], size)


def _of_rle(segmentation: Mapping[str, Any], size: tuple[int, int]) -> Decoded | None:
    if segmentation.get("size") != list(size):
        raise Unusable(f"its mask has the size {segmentation.get('size')!r:.40}, the image {list(size)}")
    counts = segmentation.get("counts")
    if isinstance(counts, list) and all(isinstance(count, int | float) and count == int(count) for count in counts):
        counts = [int(count) for count in counts]
    if not counts or not isinstance(counts, str | list):
        raise Unusable("its mask has no run lengths")
    return decode(counts, size)

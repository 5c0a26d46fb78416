"""labelme: one JSON file of shapes per image."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from napari_cellseg.errors import AnnotationError
from napari_cellseg.images.flat import PILLOW_ERRORS
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.drawing import CLIPPED, Drawn, cell_of_mask, drawn, ellipse, joined
from napari_cellseg.importers.matching import draft_of, draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_MAX_MASK_TEXT, _MODEST_PIXELS = 2**26, 2**20


def find(source: Source) -> list[Path]:
    """Return the JSON files with a list of shapes."""
    return [file for file in source.named(".json") if _is_labelme(source, file)]


def _is_labelme(source: Source, file: Path) -> bool:
    try:
        data = source.json(file)
    except AnnotationError:
        return False
    return isinstance(data, dict) and isinstance(data.get("shapes"), list) and "imagePath" in data


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read one image per file; shapes with the same group and label are one cell."""
    for file in files:
        data, name = source.json(file), source.shown(file)
        draft = _draft(source, collector, file, data)
        first: dict[tuple[Any, str], int] = {}
        for number, shape in enumerate(data["shapes"], start=1):
            with collector.row(name, number, draft) as row:
                if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
                    raise Unusable("it has no label")
                collector.check(draft)
                cell, remark = _drawn(shape, draft.size)
                group = shape.get("group_id"), collector.options.rename.get(shape["label"], shape["label"])
                if group[0] is not None and group in first and cell is not None:
                    before = draft.cells[first[group]]
                    draft.cells[first[group]] = (before[0], joined(before[1], cell), *before[2:])
                    row.join()
                    continue
                row.keep(shape["label"], cell, remark=remark)
                if group[0] is not None:
                    first[group] = len(draft.cells) - 1
        source.forget(file)


def _draft(source: Source, collector: Collector, file: Path, data: Mapping[str, Any]) -> Draft:
    name, size = str(data.get("imagePath") or file.stem), _size(data)
    draft = draft_of(source, collector, source.shown(file), name, size)
    if draft.path is not None or not draft.problem:
        return draft
    by_stem = draft_of_stem(source, collector, file, file.stem)
    if by_stem.path is not None:
        collector.drafts.remove(draft)
        return by_stem
    collector.drafts.remove(by_stem)
    packed = data.get("imageData")
    if isinstance(packed, str) and packed and size is not None:
        draft.size, draft.problem, draft.pixels = size, "", lambda: _pixels(packed, file)
    return draft


def _size(data: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = data.get("imageHeight"), data.get("imageWidth")
    return (height, width) if type(height) is int and type(width) is int and min(height, width) > 0 else None


def _pixels(packed: str, file: Path) -> npt.NDArray[np.uint8]:
    try:
        with PillowImage.open(io.BytesIO(base64.b64decode(packed, validate=True))) as image:
            return np.asarray(image.convert("RGB"))
    except PILLOW_ERRORS as error:
        raise AnnotationError(f"The image inside {file.name} cannot be read: {error}.") from error


def _drawn(shape: Mapping[str, Any], size: tuple[int, int]) -> Drawn:
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind == "polygon":
        return drawn([[points]], size)
    if kind == "circle":
        (x, y), (a, b) = points
        radius = float(np.hypot(a - x, b - y))
        return drawn([[ellipse(x, y, radius, radius)]], size)
    if kind == "mask":
        return _of_mask(shape["mask"], points, size)
    if kind == "rectangle":
        raise Unusable("it is a box without a mask")
    raise Unusable(f"it is a {kind}, which has no area")


def _of_mask(packed: str, points: Any, size: tuple[int, int]) -> Drawn:
    if not isinstance(packed, str) or len(packed) > _MAX_MASK_TEXT:
        raise Unusable("its mask is no packed image")
    try:
        with PillowImage.open(io.BytesIO(base64.b64decode(packed))) as image:
            if image.width * image.height > 4 * max(size[0] * size[1], _MODEST_PIXELS):
                raise Unusable("its mask is far larger than the image")
            mask = np.asarray(image.convert("L")) > 0
    except Unusable:
        raise
    except PILLOW_ERRORS as error:
        raise Unusable("its mask is no packed image") from error
    x, y = (round(float(value)) for value in points[0])
    inside = mask[max(0, -y) : max(0, size[0] - y), max(0, -x) : max(0, size[1] - x)]
    cell = cell_of_mask(inside, max(0, x), max(0, y)) if inside.size else None
    return cell, CLIPPED if inside.shape != mask.shape else ""

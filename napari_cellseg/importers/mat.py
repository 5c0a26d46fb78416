"""MATLAB files with an instance map: CoNSeP, Lizard, Kumar and CPM as published, and HoVer-Net's predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.formats.matlab_file import NewerMatlabError, array_names, read_arrays
from napari_cellseg.formats.rle import Decoded
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.label_values import cells_of, most_frequent
from napari_cellseg.importers.matching import draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

# Graham et al., "HoVer-Net", Medical Image Analysis 58 (2019) 101563.
_CONSEP = (
    "other", "inflammatory", "healthy epithelial", "dysplastic/malignant epithelial", "fibroblast", "muscle",
    "endothelial",
)  # fmt: skip
# Graham et al., "Lizard: A Large-Scale Dataset for Colonic Nuclear Instance Segmentation", ICCVW 2021.
_LIZARD = ("neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective")

_KEYS = ("inst_map", "type_map", "inst_type", "id", "class")


def find(source: Source) -> list[Path]:
    """Return the ``.mat`` files with an instance map, and with them those that cannot be read.

    A single file counts although it cannot be read: its error says more than "unknown format".
    """
    readable = {file: _has_instances(file) for file in source.named(".mat")}
    is_mat = source.path.is_file() or any(readable.values())
    return [file for file, has_instances in readable.items() if has_instances or (has_instances is None and is_mat)]


def _has_instances(file: Path) -> bool | None:
    """Return None where the file cannot be read; a file of version 7.3 counts, so that the user is told of it."""
    try:
        return "inst_map" in array_names(file)
    except NewerMatlabError:
        return True
    except CellSegError:
        return None


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read one image per file, with the same name; a row is one instance."""
    for file in files:
        name = source.shown(file)
        try:
            content = read_arrays(file, _KEYS)
            labels = _plane(content.get("inst_map"), file)
        except CellSegError as error:
            collector.leave_out_file(name, str(error))
            continue
        draft = draft_of_stem(source, collector, file, file.stem)
        found = cells_of(labels)
        names = _names(content)
        for class_name in names:
            collector.declare(class_name)
        by_value = _listed_types(content, [entry.value for entry in found.cells if entry.cell is not None])
        for entry in found.cells:
            with collector.row(name, entry.value, draft) as row:
                collector.check(draft)
                if labels.shape != draft.size:
                    raise Unusable(f"its map has {labels.shape[0]} x {labels.shape[1]} px, the image {draft.size}")
                if entry.reason or entry.cell is None:
                    raise Unusable(entry.reason)
                row.keep(_type(entry.value, entry.cell, content, by_value, names), entry.cell, value=entry.value)


def _plane(values: Any, file: Path) -> npt.NDArray[Any]:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "buif":
        raise AnnotationError(f"the inst_map of {file.name} is not a numeric image")
    return values


def _names(content: Mapping[str, Any]) -> tuple[str, ...]:
    if "class" in content and "id" in content:
        return _LIZARD
    return _CONSEP if "type_map" in content else ()


def _listed_types(content: Mapping[str, Any], values: Sequence[int]) -> dict[int, int]:
    """Return the class numbers by instance, if the file lists them."""
    if "class" in content and "id" in content:
        ids, types = np.ravel(content["id"]), np.ravel(content["class"])
    elif "inst_type" in content:
        types = np.ravel(content["inst_type"])
        ids = np.array(values)  # in the order of the values
    else:
        return {}
    if len(ids) != len(types) or ids.dtype.kind not in "buif" or types.dtype.kind not in "buif":
        return {}
    return {int(value): int(number) for value, number in zip(ids.tolist(), types.tolist(), strict=True)}


def _type(
    value: int, cell: Decoded, content: Mapping[str, Any], listed: Mapping[int, int], names: Sequence[str]
) -> str:
    types = content.get("type_map")
    number = listed.get(value, 0)
    if isinstance(types, np.ndarray) and types.ndim == 2:
        x0, y0, x1, y1 = cell[0].tolist()
        inside = types[y0:y1, x0:x1]
        if inside.shape != cell[1].shape:
            raise Unusable("the type_map has another size")
        number = most_frequent(inside[cell[1]].astype(np.int64)) or number
    if not names and not listed and types is None:
        return "nucleus"
    if number < 1:
        raise Unusable("the file has no class for it")
    return names[number - 1] if number <= len(names) else f"class {number}"

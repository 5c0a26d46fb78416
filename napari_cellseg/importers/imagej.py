"""ImageJ ROIs: a zip of the ROI Manager, or ``.roi`` files; also the zips of NuInsSeg."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import roifile

from napari_cellseg.errors import CellSegError
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.zip_gate import opened_zip
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.drawing import drawn_even_odd
from napari_cellseg.importers.matching import draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_MAX_ROI_BYTES = 2**26
_OWN_NAME = re.compile(r"\d{5}-(.+)")  # names of this program's export: number and class
_AFFIX = re.compile(r"(^(rois?|roiset)[ _-]+|[ _-]+(rois?|roiset)$)", re.IGNORECASE)
_NO_AREA = {"LINE", "FREELINE", "POLYLINE", "ANGLE", "POINT", "NOROI"}
_ROI_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, struct.error)


def find(source: Source) -> list[Path]:
    """Return the ROI files and the zips that contain some."""
    return [*source.named(".roi"), *(file for file in source.named(".zip") if _has_rois(file))]


def _has_rois(file: Path) -> bool:
    try:
        with opened_zip(file) as archive:
            return any(name.lower().endswith(".roi") for name in archive.names)
    except CellSegError:
        return False


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read one image per zip, with the same name; ``.roi`` files belong to the image with their folder's name."""
    loose: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() == ".roi":
            loose[file.parent].append(file)
            continue
        try:
            with opened_zip(file) as archive:
                packed = [(name, archive.read(name)) for name in archive.names if name.lower().endswith(".roi")]
        except CellSegError as error:
            collector.leave_out_file(source.shown(file), str(error))
            continue
        _read_set(source, collector, file, packed, _stems(source, file.stem))
    for folder, rois in loose.items():
        packed = [(file.name, read_bytes(file, most_bytes=_MAX_ROI_BYTES, may_be_empty=True)) for file in rois]
        names = (folder.name, *([rois[0].stem] if len(rois) == 1 else []))
        _read_set(source, collector, rois[0], packed, [stem for name in names for stem in _stems(source, name)])


def _stems(source: Source, name: str) -> list[str]:
    """Return the possible names of the image of a set; ``RoiSet.zip`` matches the only image of its folder."""
    stems = [name, _AFFIX.sub("", name)]
    if re.fullmatch(r"(roiset|rois?)\d*", name, re.IGNORECASE) or not source.images.files[1:]:
        stems += [file.stem for file in source.images.files] if len(source.images.files) == 1 else []
    return stems


def _read_set(
    source: Source, collector: Collector, file: Path, packed: Sequence[tuple[str, bytes]], stems: Sequence[str]
) -> None:
    draft = draft_of_stem(source, collector, file, *stems)
    for number, (name, content) in enumerate(packed, start=1):
        with collector.row(source.shown(file), number, draft) as row:
            collector.check(draft)
            roi = _parsed(content)
            kind = roi.roitype.name
            if kind in _NO_AREA:
                raise Unusable(f"it is a {kind.lower()}, which has no area")
            cell, remark = drawn_even_odd(list(_rings(roi)), draft.size)
            properties = roi.properties
            row.keep(
                _class_name(roi, name),
                cell,
                score=_number(properties.get("score")),
                value=_number(properties.get("label_id")),
                remark=remark,
            )


def _parsed(content: bytes) -> Any:
    try:
        return roifile.ImagejRoi.frombytes(content)
    except _ROI_ERRORS as error:
        raise Unusable("it is no ImageJ ROI") from error


def _rings(roi: Any) -> Iterator[Any]:
    try:
        rings = roi.coordinates(multi=True)
    except _ROI_ERRORS as error:
        raise Unusable("its outline cannot be read") from error
    yield from rings if isinstance(rings, list) else [rings]


def _class_name(roi: Any, name: str) -> str:
    own = _OWN_NAME.fullmatch(Path(name).stem)
    if own and "label_id" in roi.properties:  # ImageJ's own names are numbers like 0005-0012
        return own[1]
    return f"group {roi.group}" if roi.group else "cell"


def _number(text: Any) -> float | int | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return int(value) if value.is_integer() and value > 1 else value

"""Aperio ImageScope XML, the format of MoNuSAC and MoNuSeg: regions of vertices, in px of the full image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.drawing import drawn
from napari_cellseg.importers.matching import draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_MAX_BYTES, _MAX_DEPTH = 2**29, 32
_PLAIN_NAMES = ("description", "")  # ImageScope's default name of an attribute


def find(source: Source) -> list[Path]:
    """Return the XML files with annotations of ImageScope."""
    return [file for file in source.named(".xml") if _looks_right(file)]


def _looks_right(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(4096)
    except OSError:
        return False
    return b"<Annotations" in head


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read one image per file, with the same name; the class is an annotation's attribute or name."""
    for file in files:
        name = source.shown(file)
        try:
            root = _parsed(file)
        except CellSegError as error:
            collector.leave_out_file(name, str(error))
            continue
        draft, number = draft_of_stem(source, collector, file, file.stem), 0
        for annotation in root.iter("Annotation"):
            class_name = _class_name(annotation)
            for region in annotation.iter("Region"):
                number += 1
                with collector.row(name, number, draft) as row:
                    collector.check(draft)
                    if region.get("NegativeROA") == "1":
                        raise Unusable("it is marked as a region to exclude (NegativeROA)")
                    ring = [float(vertex.attrib[axis]) for vertex in region.iter("Vertex") for axis in ("X", "Y")]
                    cell, remark = drawn([[ring]], draft.size)
                    row.keep(class_name, cell, remark=remark)
                    collector.declare(class_name, _colour(annotation.get("LineColor", "")))


def _parsed(file: Path) -> ElementTree.Element:
    content = read_bytes(file, most_bytes=_MAX_BYTES)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # entities can expand to any size
        raise AnnotationError(f"{file.name} defines its own entities; such XML is not read")
    depth = 0
    try:
        events = ElementTree.iterparse(io.BytesIO(content), events=("start", "end"))
        for event, _ in events:
            depth += 1 if event == "start" else -1
            if depth > _MAX_DEPTH:
                raise AnnotationError(f"{file.name} has elements more than {_MAX_DEPTH} deep; ImageScope writes 6")
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{file.name} is not XML: {error}") from error
    root: ElementTree.Element = events.root  # type: ignore[attr-defined]  # set when all is read
    return root


def _class_name(annotation: ElementTree.Element) -> str:
    names = [attribute.get("Name", "").strip() for attribute in annotation.iter("Attribute")]
    for name in (*names, annotation.get("Name", "").strip()):
        if name.lower() not in _PLAIN_NAMES:
            return name
    return "nucleus"


def _colour(packed: str) -> str:
    """Return ``#rrggbb`` from ImageScope's integer, which has blue in its highest byte."""
    return "#" + int(packed).to_bytes(4, "little")[:3].hex() if packed.isdigit() and int(packed) < 2**32 else ""

"""Aperio ImageScope XML, the format of MoNuSAC and MoNuSeg: regions of vertices, in px of the full image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from napari_cellseg.errors import CellSegError
from napari_cellseg.formats.xml_gate import read_xml, root_tag
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.drawing import drawn
from napari_cellseg.importers.matching import draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_PLAIN_NAMES = ("description", "")  # ImageScope's default name of an attribute


def find(source: Source) -> list[Path]:
    """Return the XML files with annotations of ImageScope."""
    return [file for file in source.named(".xml") if root_tag(file, "Annotations")]


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read one image per file, with the same name; the class is an annotation's attribute or name."""
    for file in files:
        name = source.shown(file)
        try:
            root = read_xml(file)
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


def _class_name(annotation: ElementTree.Element) -> str:
    names = [attribute.get("Name", "").strip() for attribute in annotation.iter("Attribute")]
    for name in (*names, annotation.get("Name", "").strip()):
        if name.lower() not in _PLAIN_NAMES:
            return name
    return "nucleus"


def _colour(packed: str) -> str:
    """Return ``#rrggbb`` from ImageScope's integer, which has blue in its highest byte."""
    return "#" + int(packed).to_bytes(4, "little")[:3].hex() if packed.isdigit() and int(packed) < 2**32 else ""

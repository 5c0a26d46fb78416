"""CVAT for images 1.1: one XML file with the polygons, masks and ellipses of all images of a task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from napari_cellseg.errors import CellSegError
from napari_cellseg.formats.xml_gate import read_xml, root_tag
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.drawing import CLIPPED, Drawn, cell_of_mask, drawn, ellipse, encloses, joined
from napari_cellseg.importers.matching import draft_of
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_SHAPES = ("polygon", "mask", "ellipse", "box", "polyline", "points", "cuboid", "skeleton", "tag")


def find(source: Source) -> list[Path]:
    """Return the XML files of CVAT."""
    return [file for file in source.named(".xml") if root_tag(file, "annotations>")]


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read all images; shapes with the same group and label are one cell, as in CVAT's own COCO export.

    A box around the shapes of its group is not another cell: Datumaro writes one for each mask.
    """
    for file in files:
        name, number = source.shown(file), 0
        try:
            root = read_xml(file)
        except CellSegError as error:
            collector.leave_out_file(name, str(error))
            continue
        for label in root.iterfind(".//labels/label"):
            collector.declare(label.findtext("name", ""), label.findtext("color", ""))
        for image in root.iterfind("image"):
            draft = draft_of(source, collector, name, image.get("name", ""), _size(image))
            first: dict[tuple[str, str], int] = {}
            rows = list(enumerate(image, start=number + 1))
            number += len(rows)
            for place, shape in sorted(rows, key=lambda row: row[1].tag == "box"):  # when they come, cells are known
                _read_row(collector, name, place, draft, shape, first)
        for _ in (shape for track in root.iterfind("track") for shape in track):
            number += 1
            with collector.row(name, number, None):
                raise Unusable("it is on a frame of a video; export the task as 'CVAT for images 1.1'")


def _size(image: Element) -> tuple[int, int] | None:
    height, width = image.get("height", ""), image.get("width", "")
    if not (height.isdecimal() and width.isdecimal() and len(height) < 9 and len(width) < 9):
        return None
    size = int(height), int(width)
    return size if min(size) > 0 else None


def _read_row(
    collector: Collector, file: str, number: int, draft: Draft, shape: Element, first: dict[tuple[str, str], int]
) -> None:
    with collector.row(file, number, draft) as row:
        collector.check(draft)
        label = shape.get("label", "")
        group = shape.get("group_id", "0"), collector.options.rename.get(label.strip(), label.strip())
        is_known = group[0] not in ("0", "") and group in first
        if shape.tag == "box" and is_known and encloses(_corners(shape), draft.cells[first[group]][1]):
            row.join()
            return
        cell, remark = _drawn(shape, draft.size)
        if is_known and cell is not None:
            before = draft.cells[first[group]]
            draft.cells[first[group]] = (before[0], joined(before[1], cell), *before[2:])
            row.join()
            return
        row.keep(label, cell, remark=remark)
        first[group] = len(draft.cells) - 1


def _corners(box: Element) -> list[float]:
    return [float(box.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr")]


def _drawn(shape: Element, size: tuple[int, int]) -> Drawn:
    if shape.tag == "polygon":
        ring = [float(value) for point in shape.attrib["points"].split(";") for value in point.split(",")]
        return drawn([[ring]], size)
    if shape.tag == "ellipse":
        x, y, across, down = (float(shape.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        return drawn([[ellipse(x, y, across, down, math.radians(float(shape.get("rotation", "0"))))]], size)
    if shape.tag == "mask":
        return _of_mask(shape, size)
    if shape.tag == "box":
        raise Unusable("it is a box without a mask")
    kind = shape.tag if shape.tag in _SHAPES else "shape of an unknown kind"
    raise Unusable(f"it is a {kind}, which has no area")


def _of_mask(shape: Element, size: tuple[int, int]) -> Drawn:
    """Decode run lengths of a box, row by row, that start with background."""
    left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
    if min(width, height) < 1 or width > 2 * size[1] or height > 2 * size[0]:
        raise Unusable(f"its mask has {height} x {width} px, the image {size[0]} x {size[1]} px")
    runs = [int(count) for count in shape.attrib["rle"].split(",")]
    if min(runs) < 0 or sum(runs) != width * height:
        raise Unusable("its run lengths do not fill its box")
    values = np.arange(len(runs)) % 2 == 1
    mask = np.repeat(values, runs).reshape(height, width)
    inside = mask[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
    cell = cell_of_mask(inside, max(0, left), max(0, top)) if inside.size else None
    return cell, CLIPPED if np.count_nonzero(inside) < np.count_nonzero(mask) else ""

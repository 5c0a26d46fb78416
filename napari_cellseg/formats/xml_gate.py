"""The only gate for XML: a tree from untrusted bytes, without entities, within limits of size and depth."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.file_gate import read_bytes

__all__ = ["MAX_BYTES", "MAX_DEPTH", "read_xml", "root_tag"]

MAX_BYTES = 2**29
"""Largest file."""
MAX_DEPTH = 32
"""Deepest nesting of elements; ImageScope and CVAT write at most 8."""


def read_xml(file: Path) -> ElementTree.Element:
    """Read an XML file as a whole.

    Raises
    ------
    AnnotationError
        The file cannot be read, is not XML, defines entities, or is nested too deep.
    """
    content = read_bytes(file, most_bytes=MAX_BYTES)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # entities can expand to any size
        raise AnnotationError(f"{file.name} defines its own entities; such XML is not read")
    depth = 0
    try:
        events = ElementTree.iterparse(io.BytesIO(content), events=("start", "end"))
        for event, _ in events:
            depth += 1 if event == "start" else -1
            if depth > MAX_DEPTH:
                raise AnnotationError(f"{file.name} has elements more than {MAX_DEPTH} deep; such XML is not read")
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{file.name} is not XML: {error}") from error
    root: ElementTree.Element = events.root  # type: ignore[attr-defined]  # set when all is read
    return root


def root_tag(file: Path, tag: str) -> bool:
    """Return whether the first 4 kB of a file have the opening tag ``tag``."""
    try:
        with file.open("rb") as opened:
            return b"<" + tag.encode() in opened.read(4096)
    except OSError:
        return False

"""The settings of a project: its class table, in ``project.json``."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.class_names import MAX_BYTES, read_class_names
from napari_cellseg.formats.damaged import keep_damaged
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.json_gate import parse_json
from napari_cellseg.workspace.schemas import ProjectFile, text_of

__all__ = ["read_classes", "write_classes"]

FORMAT = "napari-cellseg project"
VERSION = 1


def read_classes(state: Path, folder: Path) -> ClassTable | None:
    """Return the project's classes; else those of a ``classes.json`` in the folder or its parent; else None.

    A damaged ``project.json`` is kept under another name and ignored: the annotations of each image repeat its
    classes.

    Raises
    ------
    AnnotationError
        ``classes.json`` is damaged, or ``project.json`` is of a later version.
    """
    own = state / "project.json"
    if own.is_file() and (classes := _own_classes(own)) is not None:
        return classes
    for path in (folder / "classes.json", folder.parent / "classes.json"):
        if path.is_file():
            return read_class_names(path)
    return None


def _own_classes(path: Path) -> ClassTable | None:
    content = read_bytes(path, most_bytes=MAX_BYTES, may_be_empty=True)
    try:
        found = ProjectFile.model_validate(parse_json(content, "the file"))
    except (ValidationError, AnnotationError) as error:
        problem = text_of(error) if isinstance(error, ValidationError) else str(error).rstrip(".")
        keep_damaged(path, content, problem)
        return None
    if found.version > VERSION:
        raise AnnotationError(f"A later version of napari-cellseg wrote {path}; update to open this project.")
    return found.classes


def write_classes(state: Path, classes: ClassTable) -> None:
    """Write ``project.json``.

    Raises
    ------
    ExportError
        It cannot be written.
    """
    data = {"format": FORMAT, "version": VERSION, "classes": classes.to_json()}
    with export_write(state / "project.json", keep="never") as file:
        file.write(json.dumps(data, ensure_ascii=False, indent=1).encode())

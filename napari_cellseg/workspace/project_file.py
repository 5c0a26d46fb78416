"""The settings of a project, in ``project.json``: its class table, and whether each plane of a stack is an image."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
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

__all__ = ["ProjectSettings", "read_classes", "read_settings", "write_classes", "write_every_plane"]

FORMAT = "napari-cellseg project"
VERSION = 1


@dataclass(frozen=True)
class ProjectSettings:
    """The settings of a project.

    Attributes
    ----------
    classes : ClassTable or None
        The classes; None before there are any.
    every_plane : bool
        Whether each plane of a stack is an image of the project.
    """

    classes: ClassTable | None = None
    every_plane: bool = False


def read_settings(state: Path, folder: Path) -> ProjectSettings:
    """Return the settings of a project; classes of a ``classes.json`` in the folder or its parent if it has none.

    A damaged ``project.json`` is kept under another name and ignored: the annotations of each image repeat its
    classes.

    Raises
    ------
    AnnotationError
        ``classes.json`` is damaged, or ``project.json`` is of a later version.
    """
    own = _own_settings(state / "project.json")
    if own.classes is not None:
        return own
    for path in (folder / "classes.json", folder.parent / "classes.json"):
        if path.is_file():
            return replace(own, classes=read_class_names(path))
    return own


def read_classes(state: Path, folder: Path) -> ClassTable | None:
    """Return the classes of `read_settings`."""
    return read_settings(state, folder).classes


def _own_settings(path: Path) -> ProjectSettings:
    if not path.is_file():
        return ProjectSettings()
    content = read_bytes(path, most_bytes=MAX_BYTES, may_be_empty=True)
    try:
        found = ProjectFile.model_validate(parse_json(content, "the file"))
    except (ValidationError, AnnotationError) as error:
        problem = text_of(error) if isinstance(error, ValidationError) else str(error).rstrip(".")
        keep_damaged(path, content, problem)
        return ProjectSettings()
    if found.version > VERSION:
        raise AnnotationError(f"A later version of napari-cellseg wrote {path}; update to open this project.")
    return ProjectSettings(found.classes, found.every_plane)


def write_classes(state: Path, classes: ClassTable) -> None:
    """Replace the classes in ``project.json``.

    Raises
    ------
    ExportError
        It cannot be written.
    AnnotationError
        A later version of this program wrote it.
    """
    _write(state, replace(_own_settings(state / "project.json"), classes=classes))


def write_every_plane(state: Path, every_plane: bool) -> None:
    """Replace in ``project.json`` whether each plane of a stack is an image; errors as `write_classes`."""
    _write(state, replace(_own_settings(state / "project.json"), every_plane=every_plane))


def _write(state: Path, settings: ProjectSettings) -> None:
    data: dict[str, object] = {"format": FORMAT, "version": VERSION}
    if settings.classes is not None:
        data["classes"] = settings.classes.to_json()
    if settings.every_plane:
        data["every_plane"] = True
    with export_write(state / "project.json", keep="never") as file:
        file.write(json.dumps(data, ensure_ascii=False, indent=1).encode())

"""The settings of a project: its class table, in ``project.json``."""

from __future__ import annotations

import json
from pathlib import Path

from napari_cellseg.atomic import export_write
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError

__all__ = ["read_classes", "write_classes"]

FORMAT = "napari-cellseg project"
VERSION = 1


def read_classes(state: Path, folder: Path) -> ClassTable | None:
    """Return the project's classes; else those of a ``classes.json`` in the folder or the one above; else None.

    Raises
    ------
    AnnotationError
        ``project.json`` or ``classes.json`` is damaged.
    """
    for path in (state / "project.json", folder / "classes.json", folder.parent / "classes.json"):
        if path.is_file():
            try:
                data = json.loads(path.read_text(encoding="utf-8"))
                return ClassTable.from_json(data["classes"] if path.name == "project.json" else data)
            except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
                raise AnnotationError(f"The classes in {path} cannot be read: {error}. Mend or remove it.") from error
    return None


def write_classes(state: Path, classes: ClassTable) -> None:
    """Write ``project.json``.

    Raises
    ------
    ExportError
        It cannot be written.
    """
    data = {"format": FORMAT, "version": VERSION, "classes": classes.to_json()}
    with export_write(state / "project.json") as file:
        file.write(json.dumps(data, ensure_ascii=False, indent=1).encode())

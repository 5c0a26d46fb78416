"""``classes.json``: the user's own class table next to the images."""

from __future__ import annotations

from pathlib import Path

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, CellSegError, ConfigError
from napari_cellseg.formats.json_gate import read_json

__all__ = ["MAX_BYTES", "read_class_names"]

MAX_BYTES = 4 * 2**20
"""Size limit of a class table, bytes; a table of a thousand classes has about 50 kB."""


def read_class_names(path: Path, error: type[CellSegError] = AnnotationError) -> ClassTable:
    """Read a list of names, ``{"1": name, ...}``, or ``{"names": [...], "colours": [...]}``.

    Raises
    ------
    CellSegError
        Of the given type: the file does not exist or is not a class table.
    """
    data = read_json(path, most_bytes=MAX_BYTES, error=error)
    try:
        return ClassTable.from_json(data)
    except ConfigError as reason:
        raise error(f"{path} is not a class table: {reason} Correct the file or remove it.") from reason

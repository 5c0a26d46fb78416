"""The paths of a project's files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import platformdirs

from napari_cellseg.atomic import set_aside
from napari_cellseg.errors import ExportError

__all__ = ["annotations_file", "file_errors", "journal_file", "set_aside", "state_folder", "unsaved_folder"]

NAME = ".cellseg"


def state_folder(folder: Path, *, inside: bool | None = None) -> Path:
    """Return ``<folder>/.cellseg``, or for a read-only folder its own folder in the user's data folder.

    Parameters
    ----------
    folder : Path
    inside : bool, optional
        True for the first, False for the second; if left out, depends on whether the folder can be written.
    """
    own = folder / NAME
    if inside is None:
        inside = os.access(own if own.exists() else folder, os.W_OK | os.X_OK)
    return own if inside else _of_user("projects", folder)


def unsaved_folder(folder: Path) -> Path:
    """Return the folder, in the user's data folder, for edits that cannot be saved in the project."""
    return _of_user("unsaved", folder)


def _of_user(kind: str, folder: Path) -> Path:
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return Path(platformdirs.user_data_dir("napari-cellseg")) / kind / f"{folder.name}-{key}"


@contextmanager
def file_errors(folder: Path) -> Iterator[None]:
    """Convert an error of the file system to an `ExportError` that names the folder."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"Cannot write into {folder}: {error.strerror or error}.") from error


def annotations_file(state: Path, image_id: str) -> Path:
    """Return the path of the annotations of an image."""
    return state / "annotations" / f"{_file_name(image_id)}.jsonl"


def journal_file(state: Path, image_id: str) -> Path:
    """Return the path of the journal of an image."""
    return state / "journal" / f"{_file_name(image_id)}.jsonl"


def _file_name(image_id: str) -> str:
    return quote(image_id, safe=" ()[]+,=@")

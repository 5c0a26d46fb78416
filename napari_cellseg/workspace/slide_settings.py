"""`SlideSettings`: the region of a slide, and its names of classes, in a small file next to its cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cellseg.atomic import export_write, write_errors
from napari_cellseg.classes import MAX_CLASSES
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.damaged import keep_damaged
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.json_gate import parse_json
from napari_cellseg.workspace.schemas import MAX_CORNERS, Text, text_of

__all__ = ["SlideSettings", "read_slide_settings", "settings_file", "write_slide_settings"]

_VERSION = 1
_MAX_BYTES = 16 * 2**20

Corner = Annotated[float, Field(ge=-1, le=1e7)]


class SlideSettings(BaseModel):
    """What a user set for one slide.

    Attributes
    ----------
    region : tuple of (y, x)
        Corners along pixel edges, px of level 0; empty for the whole slide.
    class_names : dict of str to str
        The name in the project of each class, by its name in the file of the cells.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["napari-cellseg slide"] = "napari-cellseg slide"
    version: Annotated[int, Field(strict=True, ge=1)] = _VERSION
    region: Annotated[tuple[tuple[Corner, Corner], ...], Field(max_length=MAX_CORNERS)] = ()
    class_names: Annotated[dict[Text, Text], Field(max_length=MAX_CLASSES)] = Field(default_factory=dict)


def settings_file(store: Path) -> Path:
    """Return where the settings of a slide are, given the file of its cells."""
    return store.with_suffix(".settings")


def read_slide_settings(store: Path) -> tuple[SlideSettings, str]:
    """Return the settings of a slide, those of a new one if there is no file, and what is wrong with the file.

    A damaged file is kept under another name.

    Raises
    ------
    AnnotationError
        The file cannot be read, or a later version wrote it.
    """
    path = settings_file(store)
    if not path.is_file():
        return SlideSettings(), ""
    content = read_bytes(path, most_bytes=_MAX_BYTES, may_be_empty=True)
    try:
        found = SlideSettings.model_validate(parse_json(content, "the file"))
    except (ValidationError, AnnotationError) as error:
        problem = text_of(error) if isinstance(error, ValidationError) else str(error).rstrip(".")
        return SlideSettings(), keep_damaged(path, content, problem)
    if found.version > _VERSION:
        raise AnnotationError(f"A later version of napari-cellseg wrote {path}; update to use it.")
    return found, ""


def write_slide_settings(store: Path, settings: SlideSettings) -> None:
    """Replace the settings of a slide.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    path = settings_file(store)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with export_write(path, keep="never") as file:
        file.write(settings.model_dump_json(indent=1).encode())

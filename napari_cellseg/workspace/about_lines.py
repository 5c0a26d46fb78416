"""The note, flag and region of an image as JSON, for the annotations file, the journal and training folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.json_gate import read_json
from napari_cellseg.review import About
from napari_cellseg.review.about import NOTHING, tidy_note
from napari_cellseg.review.region import Region
from napari_cellseg.workspace.schemas import FlagRecord, text_of

__all__ = ["REGION_NAME", "about_of", "about_record", "read_region", "region_bytes"]


REGION_NAME = "region.json"
"""In the folder of an image that is exported for training: its region of interest, as the annotations have it."""


def about_record(about: About) -> dict[str, Any]:
    """Return what is set, as JSON; empty for an image without a note, flag or region."""
    note = {"note": about.note} if about.note else {}
    region = {"region": [list(corner) for corner in about.region]} if about.region else {}
    return {**note, **({"unsure": True} if about.unsure else {}), **region}


def about_of(record: FlagRecord | None) -> About:
    """Return the note, flag and region of a record."""
    if record is None:
        return NOTHING
    return About(note=tidy_note(record.note), unsure=record.unsure, region=tuple(record.region))


def region_bytes(region: Region) -> bytes:
    """Return the content of `REGION_NAME`."""
    return json.dumps(about_record(About(region=region))).encode()


def read_region(folder: Path) -> Region:
    """Return the region of `REGION_NAME` in the folder of an image; empty without that file.

    Raises
    ------
    AnnotationError
        The file is damaged.
    """
    path = folder / REGION_NAME
    if not path.is_file():
        return ()
    try:
        return about_of(FlagRecord.model_validate(read_json(path))).region
    except ValidationError as error:
        raise AnnotationError(f"{path} is not a region of interest: {text_of(error)}.") from error

"""The note and flag of an image as JSON, for the annotations file and the journal."""

from __future__ import annotations

from typing import Any

from napari_cellseg.review import About
from napari_cellseg.review.about import NOTHING, tidy_note
from napari_cellseg.workspace.schemas import FlagRecord

__all__ = ["about_of", "about_record"]


def about_record(about: About) -> dict[str, Any]:
    """Return what is set, as JSON; empty for an image without a note or flag."""
    note = {"note": about.note} if about.note else {}
    return {**note, "unsure": True} if about.unsure else note


def about_of(record: FlagRecord | None) -> About:
    """Return the note and flag of a record."""
    return NOTHING if record is None else About(note=tidy_note(record.note), unsure=record.unsure)

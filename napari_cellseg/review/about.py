"""`About`: what the user noted about a whole image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from napari_cellseg.review.region import Region

__all__ = ["MAX_NOTE", "NOTHING", "About", "joined_notes", "tidy_note"]

MAX_NOTE = 2000
"""Characters of a note; the rest is cut off."""


@dataclass(frozen=True, kw_only=True)
class About:
    """The note, the flag and the region of interest of an image.

    Attributes
    ----------
    note : str
        A short text in one line; empty for none.
    unsure : bool
        Whether the user flagged the image as unsure.
    region : tuple of (y, x)
        The region of interest, px: only this part is annotated; empty for the whole image. See `region`.
    """

    note: str = ""
    unsure: bool = False
    region: Region = ()

    def __bool__(self) -> bool:
        return self != NOTHING

    @property
    def tidied(self) -> About:
        """The same with the note in one line; see `tidy_note`."""
        return replace(self, note=tidy_note(self.note))

    @property
    def line(self) -> str:
        """Flag and note in one line; empty for neither."""
        return ": ".join(part for part in ("unsure" if self.unsure else "", self.note) if part)

    def step_from(self, before: About) -> str:
        """Return the text of the undo entry of a change."""
        if self.region != before.region:
            return "region of interest" if self.region else "remove the region of interest"
        if self.note != before.note:
            return "note on the image" if self.note else "remove the note of the image"
        return "flag the image as unsure" if self.unsure else "remove the flag of the image"


NOTHING = About()


def tidy_note(text: str) -> str:
    """Return a text in one line, without control characters, of at most `MAX_NOTE` characters."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(plain.split())[:MAX_NOTE].rstrip()


def joined_notes(notes: Iterable[str]) -> str:
    """Return several notes as one; equal ones once."""
    return tidy_note("; ".join(dict.fromkeys(note for note in notes if note)))

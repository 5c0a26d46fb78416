"""The text that tells whether edits are saved: one status for all docks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = ["SaveKind", "SaveStatus", "saved_text", "status_of"]

_JOURNALLED = "Each edit is written to a journal within two seconds, and is offered for recovery after a crash."


class SaveKind(Enum):
    """The kind of a status; the window has a colour for each."""

    NOTHING = "nothing"
    SAVED = "saved"
    UNSAVED = "unsaved"
    READ_ONLY = "read-only"
    PROBLEM = "problem"


@dataclass(frozen=True)
class SaveStatus:
    """A status: ``text`` is one short line, ``tip`` gives the details, ``brief`` is for a place of 80 px."""

    kind: SaveKind
    text: str
    tip: str = ""
    brief: str = ""


def status_of(
    *,
    read_only: str,
    problem: str,
    unsaved: int,
    saved_at: float | None,
    is_open: bool,
    elsewhere: Path | None,
    damage: str = "",
) -> SaveStatus:
    """Describe whether the edits of an image are saved.

    Parameters
    ----------
    read_only : str
        Why nothing can be edited; empty if it can.
    problem : str
        Why edits are not on disk; empty if they are.
    unsaved : int
        Edits since the image was saved.
    saved_at : float or None
        Time of the last save, seconds since 1970; None if not saved since the image was opened.
    is_open : bool
        Whether an image is open.
    elsewhere : Path or None
        The folder of the annotations if the folder of the image cannot be written.
    damage : str
        The damaged parts of its files that are left out, in words; empty if there are none or it was saved since.
    """
    edits = "1 edit" if unsaved == 1 else f"{unsaved:,} edits"
    if read_only:
        lost = f" {edits} not saved." if unsaved else ""
        return SaveStatus(
            SaveKind.READ_ONLY, f"read-only: {read_only}{lost}", "You can view the image; edits are refused."
        )
    if problem:
        return SaveStatus(SaveKind.PROBLEM, f"{edits} not saved: {problem}" if unsaved else problem, problem)
    if not is_open:
        return SaveStatus(SaveKind.NOTHING, "")
    place = f" The folder cannot be written, so everything is saved in {elsewhere}." if elsewhere else ""
    if damage:
        text = "its file is damaged, and a part is left out"
        return SaveStatus(SaveKind.PROBLEM, f"{edits} not saved yet; {text}" if unsaved else text, damage + place)
    if unsaved:
        return SaveStatus(SaveKind.UNSAVED, f"{edits} not saved yet", _JOURNALLED + place, f"{unsaved:,} unsaved")
    where = " in your data folder" if elsewhere else ""
    return SaveStatus(SaveKind.SAVED, saved_text(saved_at) + where, f"Everything is saved.{place}", "saved")


def saved_text(at: float | None) -> str:
    """Return how long ago an image was saved; ``at`` in seconds since 1970, None for before it was opened."""
    if at is None:
        return "saved"
    seconds = max(time.time() - at, 0)
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"saved {seconds / size:.0f} {unit} ago"
    return f"saved {seconds:.0f} s ago"

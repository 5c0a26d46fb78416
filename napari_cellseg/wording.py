"""Counts and lists in messages, worded in one place so that they are the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["about_time", "counted", "listed", "reaching", "replaced_text", "tiles_text"]


def counted(number: int, what: str, plural: str = "") -> str:
    """Return "1 image", "2,000 images"; ``plural`` is needed only if it is not ``what`` with an s."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return "a, b, c and 4 more" with at most ``most`` names."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def replaced_text(replaced: Sequence[tuple[Path, Path | None]], folder: Path) -> str:
    """Return which files of a folder were replaced or removed, as one sentence, those with a backup first.

    Parameters
    ----------
    replaced : sequence of (path, backup or None)
        As `atomic.heard_replaced` has them.
    folder : Path
    """
    ordered = sorted(replaced, key=lambda pair: pair[1] is None)
    names = [os.path.relpath(path, folder) + (f" (kept as {kept.name})" if kept else "") for path, kept in ordered]
    verb = "was" if len(names) == 1 else "were"
    return f"{counted(len(names), 'file')} in {folder} {verb} replaced: {listed(names)}."


def reaching(shown: int, predicted: int, limits: Mapping[int, float]) -> str:
    """Return how many predicted cells count: "986 of 2,496 predicted cells reach the minimum score of their class".

    Parameters
    ----------
    shown : int
        Cells at or above the minimum score of their class.
    predicted : int
        All cells that the model predicted.
    limits : mapping of class_id to float
        The minimum scores; without any, all predicted cells count.
    """
    if not any(limits.values()):
        return counted(predicted, "predicted cell")
    scores = set(limits.values())
    what = f"score {scores.pop():.2f}" if len(scores) == 1 else "the minimum score of their class"
    return f"{shown:,} of {counted(predicted, 'predicted cell')} reach {what}"


def about_time(seconds: float) -> str:
    """Return a time that is only estimated, as people say it: "about 40 s", "about 20 min", "about 3 h"."""
    for limit, unit, size in ((90, "s", 1), (90 * 60, "min", 60)):
        if seconds < limit:
            number = max(1, round(seconds / size))
            return f"about {number if number < 10 else round(number / 5) * 5} {unit}"
    hours = seconds / 3600
    return f"about {hours:.1f} h".replace(".0 h", " h") if hours < 10 else f"about {hours:.0f} h"


def tiles_text(done: int, total: int) -> str:
    """Return "8 of 441 tiles are predicted"; ``total`` is 0 if it is not known."""
    verb = "is" if done == 1 else "are"
    if not total:
        return f"{counted(done, 'tile')} {verb} predicted, not all"
    return f"{done:,} of {counted(total, 'tile')} {verb} predicted"

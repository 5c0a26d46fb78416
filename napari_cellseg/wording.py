"""Counts and lists in messages, worded in one place so that they are the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "listed"]


def counted(number: int, what: str, plural: str = "") -> str:
    """Return "1 image", "2,000 images"; ``plural`` is needed only if it is not ``what`` with an s."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return "a, b, c and 4 more" with at most ``most`` names."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")

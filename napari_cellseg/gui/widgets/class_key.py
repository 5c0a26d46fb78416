"""Which key gives a class to the selected cells; several docks show it."""

from __future__ import annotations

__all__ = ["CLASSES_WITH_KEY", "class_key"]

CLASSES_WITH_KEY = 9
"""The classes 1..9 have a key."""


def class_key(class_id: int) -> str:
    """Return the key of a class, as Qt writes it; empty when the class has none."""
    return str(class_id) if class_id <= CLASSES_WITH_KEY else ""

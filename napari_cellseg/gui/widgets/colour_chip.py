"""`ColourChip`: a square of the colour of a class."""

from __future__ import annotations

from qtpy.QtWidgets import QToolButton

__all__ = ["ColourChip"]


class ColourChip(QToolButton):
    """A square in the colour of a class; a click can ask for another colour."""

    def __init__(self, colour: str) -> None:
        super().__init__()
        self.setFixedSize(18, 18)
        self.set_colour(colour)

    def set_colour(self, colour: str) -> None:
        """Show another colour."""
        self.setStyleSheet(
            f"ColourChip {{ background-color: {colour}; border: 1px solid rgba(128, 128, 128, 160);"
            " border-radius: 3px; }"
        )

"""`ReviewAction`: one thing that can be done in a review, with its button and its keys; `action_table` has them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from napari_cellseg.gui.review.actions import ReviewActions

__all__ = ["Needs", "Place", "ReviewAction", "Where"]


class Place(Enum):
    """The row of buttons in *Review*."""

    DECISION = "decision"
    QUEUE = "queue"
    SHAPE = "shape"
    HISTORY = "history"
    NONE = "none"


class Where(Enum):
    """Where the keys work."""

    EVERYWHERE = "on the canvas and in the docks of the review"
    CANVAS = "on the canvas"
    SPLITTING = "on the canvas, while a cell is being split"


Needs = Callable[[ReviewActions], str | None]
"""Says why an action cannot work now, for example "Open an image first."; None when it can."""


@dataclass(frozen=True, kw_only=True)
class ReviewAction:
    """One row.

    Attributes
    ----------
    id : str
        Its name in code.
    text : str
        On its button.
    tip : str
        What it does: in the list of keys, in the docs, and on the button.
    run : callable
        Does it.
    needs : callable
        Says why it cannot work now.
    keys : tuple of str
        As Qt writes them; each does it.
    where : Where
        Where the keys work.
    place : Place
        Where its button is.
    now : callable or None
        Says what it would do now, for the button, when that is more than ``tip``.
    is_primary : bool
        Whether its button is the one that the dock is for.
    """

    id: str
    text: str
    tip: str
    run: Callable[[ReviewActions], object]
    needs: Needs
    keys: tuple[str, ...] = ()
    where: Where = Where.EVERYWHERE
    place: Place = Place.NONE
    now: Callable[[ReviewActions], str] | None = None
    is_primary: bool = False

    @property
    def label(self) -> str:
        """The text of its button, with its key when that is a letter."""
        key = self.keys[0].replace("Shift+", "⇧") if self.keys else ""
        return f"{self.text} {key}" if key and len(key.removeprefix("⇧")) == 1 else self.text

    def tooltip(self, do: ReviewActions) -> str:
        """Return what it would do now, with its key."""
        tip = self.tip if self.now is None else self.now(do)
        return f"{tip} ({self.keys[0]})" if self.keys else tip

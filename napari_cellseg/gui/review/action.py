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
    TOOL = "tool"
    SHAPE = "shape"
    HISTORY = "history"
    NOTE = "note"
    SHOW = "show"
    TRAIN = "train"
    TRIAL = "trial"
    DISPUTE = "dispute"
    BAR = "work bar"
    """Only above the canvas, where the work bar shows some of the others too."""
    NONE = "none"


class Where(Enum):
    """Where the keys work."""

    EVERYWHERE = "on the canvas and in the docks of the review"
    CANVAS = "on the canvas"
    REVIEW = "on the canvas and in *Review*"
    END = "on the canvas and in the queue, once all cells are decided"
    REGION = "on the canvas, while the region is drawn"
    SPLITTING = "on the canvas, while a cell is being split"
    CLICKING = "on the canvas, while missed cells are clicked"


Needs = Callable[[ReviewActions], str | None]
"""Says why an action cannot work now, for example "Open an image first."; None if it can."""


@dataclass(frozen=True, kw_only=True)
class ReviewAction:
    """One row.

    Attributes
    ----------
    id : str
        Name of the action in code.
    text : str
        Text of the button.
    tip : str
        What the action does: in the list of keys, in the docs, and on the button.
    run : callable
        Does the action.
    needs : callable
        Says why the action cannot work now.
    keys : tuple of str
        The keys, as Qt writes them.
    where : Where
        Where the keys work.
    place : Place
        Where the button is.
    now : callable or None
        Says what the action would do now, for the button, if that is more than ``tip``.
    is_on : callable or None
        Whether the button is shown pressed; None for a button that is never pressed.
    release : callable or None
        Ends an action that lasts as long as its button is held; None for all other actions.
    is_primary : bool
        Whether the button is the primary button of the dock.
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
    is_on: Callable[[ReviewActions], bool] | None = None
    release: Callable[[ReviewActions], object] | None = None
    is_primary: bool = False

    @property
    def label(self) -> str:
        """The text of the button, with the key if that is a letter."""
        key = self.keys[0].replace("Shift+", "⇧") if self.keys else ""
        return f"{self.text} {key}" if key and len(key.removeprefix("⇧")) == 1 else self.text

    @property
    def spoken(self) -> str:
        """What a screen reader says for a button whose text is a sign, as "<"; empty for one whose text is a word."""
        return "" if self.text[0].isalpha() else self.tip.partition(";")[0]

    def tooltip(self, do: ReviewActions) -> str:
        """Return what the action would do now, with its key."""
        tip = self.tip if self.now is None else self.now(do)
        return f"{tip} ({self.keys[0]})" if self.keys else tip

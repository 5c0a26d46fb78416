"""`Learner`: what a reviewer changes, learned from the decisions, with the reason in words; kept in memory only."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from napari_cellseg.review.cells import Cell, Status
from napari_cellseg.review.doubts import Doubt, Norm, Shape
from napari_cellseg.review.features import FEATURES, features_of
from napari_cellseg.review.history import Change
from napari_cellseg.review.logistic import Logistic, fit
from napari_cellseg.review.session import ReviewSession
from napari_cellseg.wording import counted

__all__ = ["LIKE_REJECTED", "Learner"]

ENOUGH = 30
"""Decisions before anything is learned."""
BOTH = 3
"""Of each outcome at least this many: fewer say nothing about what they have in common."""
MOST = 1000
"""Only so many decisions, the latest, count: a fit stays below 20 ms, and a reviewer may change their mind."""
LIKE_REJECTED = 0.7
"""From this probability of a rejection on, a cell is like the rejected ones."""
SHARE = 0.1
"""A feature that adds less than this to the log-odds is no reason."""
REMOVING = ("delete ", "merge ", "erase ", "paint ", "draw ")
"""The commands that remove a cell as a decision about it."""

Row = tuple[float, ...]


class Learner:
    """Learns from the decisions about proposed cells, of all images that it began with.

    A decision counts with what the cell looked like while it was proposed: as a change if the cell was rejected,
    deleted, reclassified or edited; not if it was accepted as it was. Undo takes a decision back.
    """

    def __init__(self) -> None:
        self._images: WeakKeyDictionary[ReviewSession, int] = WeakKeyDictionary()
        self._began = self._image = 0
        self._rgb: npt.NDArray[np.uint8] | None = None
        self._rows: dict[int, Row] = {}
        self._decisions: dict[tuple[int, int], tuple[Row, bool, bool]] = {}
        self._change: Logistic | None = None
        self._reject: Logistic | None = None
        self._learned_from = 0
        self._chances: dict[int, float] = {}

    # ---- what it sees ----

    def begin(self, session: ReviewSession, rgb: npt.NDArray[np.uint8] | None = None) -> None:
        """Learn from another image too; ``rgb`` (H, W, 3) uint8 is needed for the stain only."""
        if session not in self._images:
            self._began += 1
            self._images[session] = self._began
        self._image, self._rgb = self._images[session], rgb
        self._rows.clear()
        self._chances.clear()

    def observe(self, cell: Cell, shape: Shape, norm: Norm | None, doubts: Iterable[Doubt], neighbours: int) -> None:
        """Remember what an undecided cell looks like."""
        if not cell.reviewed:
            self._rows[cell.cell_id] = features_of(cell, shape, norm, tuple(doubts), neighbours, self._rgb)
            self._predict([cell.cell_id])

    def follow(self, change: Change) -> None:
        """Learn from a change of the session that it began with."""
        is_decision = change.text.startswith(REMOVING)
        only_removes = all(after is None for _, after in change.pairs)
        for before, after in change.pairs:
            cell_id = (after or before).cell_id  # type: ignore[union-attr]
            key = self._image, cell_id
            if after is not None and not after.reviewed:
                self._decisions.pop(key, None)
            elif after is None and not is_decision:  # replaced by another prediction, or that undone
                self._rows.pop(cell_id, None)
                self._decisions.pop(key, None)
            elif key in self._decisions or (before is not None and before.status is Status.PROPOSED):
                row = self._rows.get(cell_id)
                if row is None:  # decided before the queue was assessed
                    continue
                self._decisions.pop(key, None)  # the latest is the last
                kept = after is not None and after.status is Status.ACCEPTED
                rejected = only_removes if after is None else after.status is Status.REJECTED
                self._decisions[key] = row, not kept, rejected

    # ---- what it learned ----

    def learn(self) -> None:
        """Fit to the latest decisions, and predict all cells of the image."""
        chosen = list(islice(reversed(self._decisions.values()), MOST))
        x = np.array([row for row, _, _ in chosen], float).reshape(-1, len(FEATURES))
        changed = np.array([is_change for _, is_change, _ in chosen], bool)
        rejected = np.array([is_rejection for _, _, is_rejection in chosen], bool)
        self._learned_from = len(chosen)
        self._change = fit(x, changed) if _is_enough(changed) else None
        self._reject = fit(x, rejected) if _is_enough(rejected) else None
        self._chances.clear()
        self._predict(list(self._rows))

    @property
    def has_learned(self) -> bool:
        """Whether the decisions were enough to order the cells."""
        return self._change is not None

    @property
    def text(self) -> str:
        """What the order rests on."""
        if self._change is not None:
            return f"Learned from {counted(self._learned_from, 'decision')}."
        return f"Worst first: {self._missing(rejections=False)}"

    @property
    def why_no_rejections(self) -> str | None:
        """Why no cells are like the rejected ones; None once that is learned."""
        return None if self._reject is not None else self._missing(rejections=True)

    def chance(self, cell_id: int) -> float | None:
        """Return the probability that the reviewer changes a cell; None if that is not learned."""
        return self._chances.get(cell_id)

    def reason(self, cell_id: int) -> str:
        """Return the probability of a change and its two strongest reasons in words; empty if it is not learned."""
        row = self._rows.get(cell_id)
        if self._change is None or row is None:
            return ""
        x = np.array([row])
        chance, shares = self._chances[cell_id], self._change.shares(x)[0]
        above = self._change.standardised(x)[0] > 0
        words = [FEATURES[i].high if above[i] else FEATURES[i].low for i in np.argsort(-shares, kind="stable")[:2]
                 if shares[i] >= SHARE]  # fmt: skip
        reasons = ", ".join(filter(None, words))
        return f"{100 * chance:.0f} % likely to be changed" + (f": {reasons}" if reasons else "")

    def like_rejected(self, cell_ids: Iterable[int]) -> tuple[int, ...]:
        """Return those of some cells that are likely to be rejected, the likeliest first."""
        ids = [i for i in cell_ids if i in self._rows]
        if self._reject is None or not ids:
            return ()
        chances = self._reject.probability(np.array([self._rows[i] for i in ids]))
        order = np.argsort(-chances, kind="stable")
        return tuple(ids[i] for i in order[: np.count_nonzero(chances >= LIKE_REJECTED)])

    def _predict(self, cell_ids: list[int]) -> None:
        if self._change is not None and cell_ids:
            chances = self._change.probability(np.array([self._rows[i] for i in cell_ids]))
            self._chances.update(zip(cell_ids, chances.tolist(), strict=True))

    def _missing(self, *, rejections: bool) -> str:
        made = len(self._decisions)
        if made < ENOUGH:
            return f"{made} of the {ENOUGH} decisions that it takes to learn."
        what = "rejected" if rejections else "changed"
        return (
            f"It takes {BOTH} {what} and {BOTH} other cells to learn what you {'reject' if rejections else 'change'}."
        )


def _is_enough(outcomes: npt.NDArray[np.bool_]) -> bool:
    positive = int(np.count_nonzero(outcomes))
    return len(outcomes) >= ENOUGH and BOTH <= positive <= len(outcomes) - BOTH

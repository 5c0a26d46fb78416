"""`ArrivingCells`: the cells of a running prediction, shown tile by tile as one undo step that grows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.review.cells import Box, Cell, Status
from napari_cellseg.review.conversion import SHARED, cells_from, instances_of, known_already
from napari_cellseg.review.history import Pair, Step

if TYPE_CHECKING:
    from napari_cellseg.review.session import ReviewSession

__all__ = ["ArrivingCells", "check_size", "proposal_pairs", "touches"]


class ArrivingCells:
    """Puts the cells so far of a prediction into a session, as proposals that the user may decide about immediately.

    A decision stays, as after any prediction: what is accepted, edited or rejected is not proposed again, and what
    undo or redo of a later command needs is not replaced. A cell that is the same in the next report keeps its id.

    Parameters
    ----------
    session : ReviewSession
    by : str
        Name of the model.
    """

    def __init__(self, session: ReviewSession, by: str) -> None:
        self._session = session
        self._by = by
        self._step: Step | None = None

    @property
    def is_undone(self) -> bool:
        """Return whether the user took the cells back."""
        return self._step is not None and self._session.history.is_undone(self._step)

    def show(self, found: InstanceMasks, waiting: Sequence[Box] = ()) -> None:
        """Show the cells so far, or all cells with the default of ``waiting``.

        Parameters
        ----------
        found : InstanceMasks
            Replaces what was shown of this prediction before. Of earlier proposals, those stay that reach into a
            waiting tile and overlap none of these cells.
        waiting : sequence of (x0, y0, x1, y1)
            The tiles that are not finished.

        Raises
        ------
        AnnotationError
            As `ReviewSession.load_proposals`.
        """
        session, step = self._session, self._step
        check_size(found, session.image_size)
        pinned = frozenset() if step is None else session.history.touched_since(step)
        own = set() if step is None else {after.cell_id for _, after in step.pairs if after is not None}
        cells = [cell for _, cell in sorted(session.cells.items())]
        pairs = proposal_pairs(
            cells, found, self._by, session.clock(), session.next_id, pinned=pinned, own=own, waiting=waiting
        )
        gone = {before.cell_id for before, _ in pairs if before is not None}
        count = len(own - gone) + sum(before is None for before, _ in pairs)
        self._step = session.grow(step, f"{count} proposals from {self._by}", pairs)


def check_size(found: InstanceMasks, image_size: tuple[int, int]) -> None:
    """Check that cells are of an image of this height and width.

    Raises
    ------
    AnnotationError
        They are not.
    """
    if found.image_size != image_size:
        raise AnnotationError(
            f"The cells are for an image of {found.image_size}, this one is {image_size} (height, width)."
        )


def proposal_pairs(
    cells: Iterable[Cell],
    found: InstanceMasks,
    by: str,
    at: float,
    first_id: int,
    *,
    pinned: Collection[int] = (),
    own: Collection[int] = (),
    waiting: Sequence[Box] = (),
) -> list[Pair]:
    """Return the changes that replace the proposed cells by a model's predictions.

    Parameters
    ----------
    cells : iterable of Cell
        The cells of the session, by id.
    found : InstanceMasks
        The predictions; those of kept cells are left out, see `known_already`.
    by : str
        Name of the model.
    at : float
        Time, seconds since 1970.
    first_id : int
        The first id of new cells.
    pinned : collection of int
        Ids of proposed cells that stay.
    own : collection of int
        Ids of proposed cells that stay if a prediction equals them.
    waiting : sequence of (x0, y0, x1, y1)
        Where the model has not been yet, px: there, other proposed cells stay unless a prediction overlaps them.
    """
    cells = list(cells)
    kept = [cell for cell in cells if cell.is_kept or cell.cell_id in pinned]
    new = found.select(~known_already(found, kept, found.image_size))
    proposed = [cell for cell in cells if not cell.is_kept and cell.cell_id not in pinned]
    same = _equal([cell for cell in proposed if cell.cell_id in own], new)
    stays = set(same.values()) | _not_reached([cell for cell in proposed if cell.cell_id not in own], new, waiting)
    is_there = np.isin(np.arange(len(new)), list(same))
    added = cells_from(new.select(~is_there), Status.PROPOSED, by, at, first_id=first_id, label_values=False)
    gone: list[Pair] = [(cell, None) for cell in proposed if cell.cell_id not in stays]
    return [*gone, *((None, cell) for cell in added)]


def touches(boxes: npt.NDArray[np.int32], others: Sequence[Box]) -> npt.NDArray[np.bool_]:
    """Return which of (N, 4) boxes share a pixel with one of the others, (N,) bool."""
    touched = np.zeros(len(boxes), bool)
    for x0, y0, x1, y1 in others:
        touched |= (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
    return touched


def _equal(cells: Sequence[Cell], found: InstanceMasks) -> dict[int, int]:
    """Return the cell_id of each prediction, by index, that a cell equals."""
    boxes, class_ids, scores = found.boxes.tolist(), found.class_ids.tolist(), found.scores.tolist()
    place = {(c, s, tuple(box)): i for i, (c, s, box) in enumerate(zip(class_ids, scores, boxes, strict=True))}
    same = {}
    for cell in cells:
        i = place.get((cell.class_id, cell.score, cell.box))
        if i is not None and np.array_equal(found.masks[i], cell.mask):
            same[i] = cell.cell_id
    return same


def _not_reached(cells: Sequence[Cell], found: InstanceMasks, waiting: Sequence[Box]) -> set[int]:
    """Return the ids of the cells that reach into a waiting tile and overlap no prediction."""
    old = instances_of(cells, found.image_size)
    stays = touches(old.boxes, waiting)
    if stays.any():
        i, j, shared = intersections(old, found)
        stays[i[shared > SHARED * np.minimum(old.areas[i], found.areas[j])]] = False
    return {cell.cell_id for cell, stay in zip(cells, stays.tolist(), strict=True) if stay}

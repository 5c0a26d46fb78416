"""Commands of a review: each is undoable, exact to the pixel, and costs what it touches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks, intersections
from napari_cellseg.review.cells import BoolMask, Box, Cell, Status
from napari_cellseg.review.edits import Placed, cut_by_line, cut_by_seeds, filled, joined, smoothed, tightened
from napari_cellseg.review.history import Change, Pair
from napari_cellseg.review.session import SessionBase
from napari_cellseg.review.strokes import read_stroke

__all__ = ["ReviewSession"]


class ReviewSession(SessionBase):
    """The cells of an image, what is decided about them, and one undo stack for it all.

    Every command returns a `Change`, tells the subscribers, and raises `AnnotationError` with nothing changed when it
    cannot be done. ``cell_ids`` may hold one id or thousands; bulk commands are these with the ids that `find` gives.
    """

    # ---- decisions ----

    def accept(self, cell_ids: Iterable[int]) -> Change:
        """Mark cells as right."""
        return self.set_status(cell_ids, Status.ACCEPTED)

    def reject(self, cell_ids: Iterable[int]) -> Change:
        """Mark cells as wrong: neither shown nor exported, but kept, so that no new prediction brings them back."""
        return self.set_status(cell_ids, Status.REJECTED)

    def set_status(self, cell_ids: Iterable[int], status: Status) -> Change:
        """Give cells a status; an edited cell that is accepted stays edited."""
        cells = [
            cell
            for cell in self._get(cell_ids)
            if cell.status is not status and (cell.status, status) != (Status.EDITED, Status.ACCEPTED)
        ]
        verbs = {Status.ACCEPTED: "accept", Status.REJECTED: "reject", Status.PROPOSED: "reopen", Status.EDITED: "edit"}
        return self._commit(f"{verbs[status]} {_names(cells)}", [(c, self._touched(c, status=status)) for c in cells])

    def reclassify(self, cell_ids: Iterable[int], class_id: int) -> Change:
        """Give cells another class; they count as edited."""
        cells = [cell for cell in self._get(cell_ids) if cell.class_id != class_id]
        pairs: list[Pair] = [
            (c, self._touched(c, status=Status.EDITED, class_id=class_id, label_value=0)) for c in cells
        ]
        name = self.classes.names[class_id - 1] if class_id in self.classes.class_ids else f"class {class_id}"
        return self._commit(f"{_names(cells)} is {name}" if len(cells) == 1 else f"{_names(cells)} are {name}", pairs)

    def delete(self, cell_ids: Iterable[int]) -> Change:
        """Take cells out for good (until undone); a new prediction may find them again."""
        cells = self._get(cell_ids)
        return self._commit(f"delete {_names(cells)}", [(cell, None) for cell in cells])

    # ---- shape ----

    def add(self, class_id: int, box: Box, mask: BoolMask) -> Change:
        """Add a cell of a (h, w) bool crop at ``box``, which need not be tight.

        Raises
        ------
        AnnotationError
            The mask is empty, or leaves the image, or the class is unknown.
        """
        placed = tightened(box, np.asarray(mask, bool))
        if placed is None:
            raise AnnotationError("The new cell has no pixel; draw it larger.")
        cell = self._new(self._next_id, class_id, placed)
        return self._commit(f"add #{cell.cell_id}", [(None, cell)])

    def paint(self, class_id: int, box: Box, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer]) -> Change:
        """Take over a stroke of brush, fill, polygon or eraser on the view of a class: one command.

        Afterwards ``view(class_id, box)`` equals ``after``, but for the ids of new cells.

        Parameters
        ----------
        class_id : int
            Whose view was painted.
        box : (x0, y0, x1, y1)
            Where, px.
        before, after : (y1 - y0, x1 - x0) int
            The view there, cell_ids, before and after the stroke. A value of ``after`` that is no visible cell of the
            class becomes a new one; a cell that loses all its pixels is deleted.
        """
        stroke = read_stroke(self.near(class_id, box), box, before, after)
        pairs: list[Pair] = [(cell, self._reshaped(cell, placed)) for cell, placed in stroke.reshaped]
        pairs += [(cell, None) for cell in stroke.emptied]
        pairs += [(None, self._new(self._next_id + i, class_id, placed)) for i, (_, placed) in enumerate(stroke.drawn)]
        return self._commit(_stroke_text(pairs), pairs)

    def merge(self, cell_ids: Sequence[int]) -> Change:
        """Make one cell of two or more; it keeps the id and the class of the first.

        Raises
        ------
        AnnotationError
            Fewer than two cells.
        """
        cells = self._get(cell_ids)
        if len(cells) < 2:
            raise AnnotationError("Select two or more cells to merge them.")
        whole = self._reshaped(cells[0], joined(cells), score=max(cell.score for cell in cells))
        text = "merge " + " + ".join(f"#{cell.cell_id}" for cell in cells[:4]) + (" ..." if len(cells) > 4 else "")
        return self._commit(text, [(cells[0], whole), *((cell, None) for cell in cells[1:])])

    def split_by_line(self, cell_id: int, points: npt.ArrayLike) -> Change:
        """Cut a cell along a line, (M, 2) float points as (y, x); the largest piece keeps the id.

        Raises
        ------
        AnnotationError
            The line does not cut the cell in two.
        """
        (cell,) = self._get([cell_id])
        return self._split(cell, cut_by_line(cell, points))

    def split_by_seeds(self, cell_id: int, seeds: npt.ArrayLike) -> Change:
        """Cut a cell by watershed from (M, 2) clicked points as (y, x); the largest piece keeps the id.

        Raises
        ------
        AnnotationError
            Fewer than two different points lie in the cell.
        """
        (cell,) = self._get([cell_id])
        return self._split(cell, cut_by_seeds(cell, seeds))

    def fill_holes(self, cell_ids: Iterable[int]) -> Change:
        """Fill what the masks enclose."""
        cells = self._get(cell_ids)
        done = [(cell, filled(cell.mask)) for cell in cells]
        pairs: list[Pair] = [
            (cell, self._reshaped(cell, (cell.box, mask))) for cell, mask in done if not np.array_equal(mask, cell.mask)
        ]
        return self._commit(f"fill holes of {_names(cells)}", pairs)

    def smooth(self, cell_ids: Iterable[int], radius: float = 1.5) -> Change:
        """Round the outlines with a Gaussian of ``radius`` px; a cell too small for it stays as it is."""
        cells = self._get(cell_ids)
        pairs: list[Pair] = []
        for cell in cells:
            placed = smoothed(cell, radius, self.image_size)
            if placed is not None and (placed[0] != cell.box or not np.array_equal(placed[1], cell.mask)):
                pairs.append((cell, self._reshaped(cell, placed)))
        return self._commit(f"smooth {_names(cells)}", pairs)

    # ---- proposals ----

    def load_proposals(self, instances: InstanceMasks, by: str = "model") -> Change:
        """Replace what is proposed by what a model found; what a person decided stays.

        A proposal is left out when it shares more than a quarter of the smaller area with an accepted or edited cell,
        or when it is a rejected cell again (same class, intersection over union above 0.7).
        """
        if instances.image_size != self.image_size:
            raise AnnotationError(
                f"The cells are for an image of {instances.image_size}, this one is {self.image_size} (height, width)."
            )
        kept = [cell for _, cell in sorted(self.cells.items()) if cell.reviewed]
        dropped = _known_already(instances, kept, self.image_size)
        pairs: list[Pair] = [(cell, None) for _, cell in sorted(self.cells.items()) if not cell.reviewed]
        new_id, now = self._next_id, self._clock()
        for i in np.flatnonzero(~dropped).tolist():
            x0, y0, x1, y1 = instances.boxes[i].tolist()
            score, class_id = float(instances.scores[i]), int(instances.class_ids[i])
            mask = instances.masks[i]
            pairs.append((None, Cell(new_id, class_id, score, Status.PROPOSED, (x0, y0, x1, y1), mask, 0, by, now)))
            new_id += 1
        return self._commit(f"{int((~dropped).sum())} proposals from {by}", pairs)

    # ---- how cells are made ----

    def _touched(self, cell: Cell, **fields: object) -> Cell:
        return replace(cell, by=self.user, at=self._clock(), **fields)  # type: ignore[arg-type]

    def _reshaped(self, cell: Cell, placed: Placed, **fields: object) -> Cell:
        return self._touched(cell, status=Status.EDITED, box=placed[0], mask=placed[1], **fields)

    def _new(self, cell_id: int, class_id: int, placed: Placed, score: float = 1.0) -> Cell:
        return Cell(cell_id, class_id, score, Status.EDITED, *placed, 0, self.user, self._clock())

    def _split(self, cell: Cell, parts: Sequence[Placed]) -> Change:
        new = [self._new(self._next_id + i, cell.class_id, part, cell.score) for i, part in enumerate(parts[1:])]
        pairs: list[Pair] = [(cell, self._reshaped(cell, parts[0])), *((None, part) for part in new)]
        return self._commit(f"split #{cell.cell_id}", pairs)


def _names(cells: Sequence[Cell]) -> str:
    return f"#{cells[0].cell_id}" if len(cells) == 1 else f"{len(cells)} cells"


def _stroke_text(pairs: Sequence[Pair]) -> str:
    drawn = [after.cell_id for before, after in pairs if before is None and after is not None]
    touched = [before.cell_id for before, _ in pairs if before is not None]
    if drawn:
        return f"draw #{drawn[0]}" if len(drawn) == 1 else f"draw {len(drawn)} cells"
    return f"paint #{touched[0]}" if len(touched) == 1 else f"paint {len(touched)} cells"


def _known_already(
    instances: InstanceMasks, kept: Sequence[Cell], image_size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    known = np.zeros(len(instances), bool)
    if not kept or not len(instances):
        return known
    mine = InstanceMasks(
        image_size,
        np.array([cell.box for cell in kept], np.int32),
        np.array([cell.class_id for cell in kept], np.int32),
        np.ones(len(kept), np.float32),
        tuple(cell.mask for cell in kept),
    )
    i, j, shared = intersections(instances, mine)
    area, other = instances.areas[i], mine.areas[j]
    rejected = np.array([cell.status is Status.REJECTED for cell in kept])[j]
    covers = ~rejected & (shared > 0.25 * np.minimum(area, other))
    again = rejected & (instances.class_ids[i] == mine.class_ids[j]) & (shared > 0.7 * (area + other - shared))
    known[i[covers | again]] = True
    return known


def cells_from(instances: InstanceMasks, status: Status, by: str, at: float) -> list[Cell]:
    """Make the cells to begin a session with, numbered 1..N in the order they come."""
    return [
        Cell(
            i + 1,
            int(instances.class_ids[i]),
            float(instances.scores[i]),
            status,
            tuple(instances.boxes[i].tolist()),
            instances.masks[i],
            int(instances.values[i]),
            by,
            at,
        )
        for i in range(len(instances))
    ]

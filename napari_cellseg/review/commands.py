"""The changes that each command makes to cells, as (text, before/after pairs); `ReviewSession` applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_cellseg.errors import AnnotationError
from napari_cellseg.review.about import joined_notes, tidy_note
from napari_cellseg.review.cells import UNDECIDED, Cell, Status
from napari_cellseg.review.edits import Placed, bridged, filled, joined, pieces_of, smoothed
from napari_cellseg.review.history import Pair
from napari_cellseg.review.strokes import Stroke

__all__ = ["Author", "CellCommand", "Command"]

Command = tuple[str, list[Pair]]
"""The text of the undo entry, and each changed cell before and after."""

VERBS = {
    Status.ACCEPTED: "accept",
    Status.REJECTED: "reject",
    Status.PROPOSED: "reopen",
    Status.GIVEN: "reopen",
    Status.EDITED: "edit",
}


@dataclass(frozen=True)
class Author:
    """Builds commands; stamps each changed cell with the user's name and the time.

    Attributes
    ----------
    name : str
        Name of the user.
    clock : callable
        Returns the time in seconds since 1970.
    image_size : (int, int)
        Height and width of the image, px.
    """

    name: str
    clock: Callable[[], float]
    image_size: tuple[int, int]

    def set_status(self, cells: Sequence[Cell], status: Status) -> Command:
        """Set the status of cells; an edited cell stays edited when it is accepted, a reopened one is not settled."""
        final = (Status.EDITED, Status.ACCEPTED)
        changing = [cell for cell in cells if cell.status is not status and (cell.status, status) != final]
        fields = {"settled": None} if status in UNDECIDED else {}
        return f"{VERBS[status]} {_names(changing)}", [(c, self._signed(c, status=status, **fields)) for c in changing]

    def reclassify(self, cells: Sequence[Cell], class_id: int, class_name: str) -> Command:
        """Change the class of cells, and drop their label values, which belong to the old class."""
        changing = [cell for cell in cells if cell.class_id != class_id]
        pairs: list[Pair] = [
            (c, self._signed(c, status=Status.EDITED, class_id=class_id, label_value=0)) for c in changing
        ]
        return f"reclassify {_names(changing)} to {class_name}", pairs

    def give_class(self, cells: Sequence[Cell], class_id: int, class_name: str) -> Command:
        """Change the class of cells; cells that have the class already are accepted: the user has confirmed it."""
        same = [cell for cell in cells if cell.class_id == class_id]
        confirmed, accepted = self.set_status(same, Status.ACCEPTED)
        changed, reclassified = self.reclassify(cells, class_id, class_name)
        text = f"{changed}, {confirmed}" if accepted and reclassified else changed if reclassified else confirmed
        return text, [*reclassified, *accepted]

    def merge(self, cells: Sequence[Cell], *, bridge: bool = False) -> Command:
        """Merge cells into the first one, with the highest of their scores; ``bridge`` fills the gaps between them."""
        if len(cells) < 2:
            raise AnnotationError("Select two or more cells to merge them.")
        placed = bridged(cells) if bridge else joined(cells)
        # A cell that was in two pieces may stay so, but a merge must not create such a cell.
        if not bridge and pieces_of(placed[1]) > max(pieces_of(cell.mask) for cell in cells):
            raise AnnotationError(
                f"{' and '.join(f'#{cell.cell_id}' for cell in cells[:4])} do not touch, so they are not merged. "
                "Merge and bridge (Shift+Q) fills the gap between them."
            )
        whole = self._reshaped(
            cells[0],
            placed,
            score=max(cell.score for cell in cells),
            note=joined_notes(cell.note for cell in cells),
            unsure=any(cell.unsure for cell in cells),
        )
        text = "merge " + " + ".join(f"#{cell.cell_id}" for cell in cells[:4]) + (" ..." if len(cells) > 4 else "")
        return text, [(cells[0], whole), *((cell, None) for cell in cells[1:])]

    def split(self, cell: Cell, parts: Sequence[Placed], new_id: int) -> Command:
        """Reduce a cell to the first part, and make new cells of the other parts; all of them get its note and flag."""
        drawn = [self.drawn(new_id + i, cell.class_id, part, cell.score) for i, part in enumerate(parts[1:])]
        new = [replace(part, note=cell.note, unsure=cell.unsure) for part in drawn]
        return f"split #{cell.cell_id}", [(cell, self._reshaped(cell, parts[0])), *((None, part) for part in new)]

    def paint(self, class_id: int, stroke: Stroke, new_id: int) -> Command:
        """Apply a stroke: reshape, delete and add cells."""
        new = [self.drawn(new_id + i, class_id, placed) for i, placed in enumerate(stroke.drawn)]
        pairs: list[Pair] = [(cell, self._reshaped(cell, placed)) for cell, placed in stroke.reshaped]
        pairs += [(cell, None) for cell in stroke.emptied]
        old = [cell for cell, _ in pairs if cell is not None]
        text = f"draw {_names(new)}" if new else f"erase {_names(old)}" if stroke.erases else f"paint {_names(old)}"
        return text, [*pairs, *((None, cell) for cell in new)]

    def fill_holes(self, cells: Sequence[Cell]) -> Command:
        """Fill the holes of the masks."""
        return f"fill holes of {_names(cells)}", self._if_other((c, (c.box, filled(c.mask))) for c in cells)

    def smooth(self, cells: Sequence[Cell], radius: float = 1.5) -> Command:
        """Smooth the outlines with a Gaussian of ``radius`` px; a cell too small for it is left unchanged."""
        return f"smooth {_names(cells)}", self._if_other((c, smoothed(c, radius, self.image_size)) for c in cells)

    def delete(self, cells: Sequence[Cell]) -> Command:
        """Delete cells; unlike rejected cells, they may return with a new prediction."""
        return f"delete {_names(cells)}", [(cell, None) for cell in cells]

    def note(self, cells: Sequence[Cell], text: str) -> Command:
        """Set the note of cells; an empty one removes it. The decision about them, and its author, stay."""
        note = tidy_note(text)
        changing = [cell for cell in cells if cell.note != note]
        verb = "note on" if note else "remove the note of"
        return f"{verb} {_names(changing)}", [(cell, replace(cell, note=note)) for cell in changing]

    def flag(self, cells: Sequence[Cell], *, unsure: bool) -> Command:
        """Flag cells as unsure, or remove the flag. The decision about them, and its author, stay."""
        changing = [cell for cell in cells if cell.unsure is not unsure]
        text = f"flag {_names(changing)} as unsure" if unsure else f"remove the flag of {_names(changing)}"
        return text, [(cell, replace(cell, unsure=unsure)) for cell in changing]

    def drawn(self, cell_id: int, class_id: int, placed: Placed, score: float = 1.0) -> Cell:
        """Make a new cell."""
        box, mask = placed
        return Cell(
            cell_id=cell_id,
            class_id=class_id,
            score=score,
            status=Status.EDITED,
            box=box,
            mask=mask,
            label_value=0,
            by=self.name,
            at=self.clock(),
        )

    def _if_other(self, reshaped: Iterable[tuple[Cell, Placed | None]]) -> list[Pair]:
        return [
            (cell, self._reshaped(cell, placed))
            for cell, placed in reshaped
            if placed is not None and (placed[0] != cell.box or not np.array_equal(placed[1], cell.mask))
        ]

    def _reshaped(self, cell: Cell, placed: Placed, **fields: object) -> Cell:
        return self._signed(cell, status=Status.EDITED, box=placed[0], mask=placed[1], **fields)

    def _signed(self, cell: Cell, **fields: object) -> Cell:
        return replace(cell, by=self.name, at=self.clock(), **fields)  # type: ignore[arg-type]


CellCommand = Callable[[Author, Sequence[Cell]], Command]
"""A command that needs nothing but the cells, for `ReviewSession.do`, such as a method of `Author`."""


def _names(cells: Sequence[Cell]) -> str:
    return f"#{cells[0].cell_id}" if len(cells) == 1 else f"{len(cells)} cells"

"""Commands that settle disputes with another reader, as (text, before/after pairs); `ReviewSession.do` applies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_cellseg.review.cells import Cell, Status
from napari_cellseg.review.commands import Author, CellCommand, Command
from napari_cellseg.review.disputes import Dispute, Disputes
from napari_cellseg.review.history import Pair
from napari_cellseg.review.settlement import DisputeKind, Outcome, Settlement

__all__ = ["leaving_out", "settling", "taking"]


def settling(command: CellCommand, disputes: Disputes) -> CellCommand:
    """Return a command that also settles the disputes about its cells, as what the cells are afterwards."""

    def settle(author: Author, cells: Sequence[Cell]) -> Command:
        text, pairs = command(author, cells)
        after = {before.cell_id: now for before, now in pairs if before is not None}
        settled: dict[int, Cell] = {}
        for cell in cells:
            dispute, now = disputes.any(cell.cell_id), after.get(cell.cell_id, cell)
            if dispute is not None and now is not None:
                settled[cell.cell_id] = _settled(author, disputes, dispute, disputes.before(cell), now)
        plain = [(before, now) for before, now in pairs if before is None or before.cell_id not in settled]
        both: list[Pair] = [*plain, *((cell, settled[cell.cell_id]) for cell in cells if cell.cell_id in settled)]
        if not settled:
            return text, pairs
        what = text if pairs else f"keep {_names(list(settled.values()))}"
        return f"{what}, settled", both

    return settle


def taking(disputes: Disputes, item_id: int, new_id: int, class_id: int | None = None) -> CellCommand:
    """Return a command that takes what the other reader decided: the cell, or its rejection.

    Parameters
    ----------
    disputes : Disputes
    item_id : int
        A cell of the review, or a negative id for one that only the other reader has.
    new_id : int
        The id of the cell if the review has none there.
    class_id : int, optional
        Another class than that of the other reader.
    """

    def take(author: Author, _: Sequence[Cell]) -> Command:
        dispute = disputes.any(item_id)
        mine, other = (None, None) if dispute is None else (dispute.mine, dispute.other)
        if dispute is None or (mine is None and other is None):
            return "take nothing", []
        if other is None or other.status is Status.REJECTED:
            assert mine is not None, "a cell that no one keeps is not in dispute"
            return settling(lambda author, cells: author.set_status(cells, Status.REJECTED), disputes)(author, [mine])
        made = author.drawn(new_id, class_id or other.class_id, (other.box, other.mask))
        if mine is not None:
            keeps_label = mine.class_id == made.class_id
            made = replace(
                made,
                cell_id=mine.cell_id,
                score=mine.score,
                label_value=mine.label_value if keeps_label else 0,
                note=mine.note,
                unsure=mine.unsure,
            )
        before = None if mine is None else disputes.before(mine)
        text = f"take the cell of {disputes.reader.name} as #{made.cell_id}, settled"
        return text, [(mine, _settled(author, disputes, dispute, before, made))]

    return take


def leaving_out(disputes: Disputes, item_id: int, new_id: int) -> CellCommand:
    """Return a command that rejects a cell which only the other reader has; it is kept as a rejected cell."""

    def leave_out(author: Author, _: Sequence[Cell]) -> Command:
        dispute = disputes.any(item_id)
        if dispute is None or dispute.kind is not DisputeKind.ONLY_OTHER or dispute.other is None:
            return "leave out nothing", []
        mine, other = dispute.mine, dispute.other
        drawn = author.drawn(new_id, other.class_id, (other.box, other.mask), other.score)
        now = replace(drawn, status=Status.REJECTED) if mine is None else mine
        before = None if mine is None else disputes.before(mine)
        text = f"leave out the cell of {disputes.reader.name}, settled"
        return text, [(mine, _settled(author, disputes, dispute, before, now))]

    return leave_out


def _settled(author: Author, disputes: Disputes, dispute: Dispute, before: Cell | None, now: Cell) -> Cell:
    known = now.settled if now.settled is not None and now.settled.reader in disputes.reader.names else None
    other = dispute.other
    kind = dispute.kind if known is None else known.kind
    return replace(
        now,
        settled=Settlement(
            reader=disputes.reader.name,
            kind=kind,
            outcome=_outcome(kind, before, now, other),
            by=author.name,
            at=max(author.clock(), other.at if other is not None else 0.0),
            other_class=0 if other is None or other.status is Status.REJECTED else other.class_id,
            before=None if before is None else replace(before, settled=None, note="", unsure=False),
        ),
    )


def _outcome(kind: DisputeKind, before: Cell | None, now: Cell, other: Cell | None) -> Outcome:
    other_has = other is not None and other.status is not Status.REJECTED
    if now.status is Status.REJECTED:
        if kind is DisputeKind.ONLY_OTHER:
            return Outcome.MINE
        return Outcome.REJECTED if other_has else Outcome.OTHER
    if other is not None and other_has and now.class_id == other.class_id:
        only_class = kind is DisputeKind.CLASS and before is not None and _same_mask(now, before)
        if only_class or _same_mask(now, other):
            return Outcome.OTHER
    if before is None or before.status is Status.REJECTED:  # there was no cell
        return Outcome.CLASS if other is not None and _same_mask(now, other) else Outcome.OUTLINE
    if not _same_mask(now, before):
        return Outcome.OUTLINE
    return Outcome.CLASS if now.class_id != before.class_id else Outcome.MINE


def _same_mask(first: Cell, second: Cell) -> bool:
    return first.box == second.box and (first.mask is second.mask or np.array_equal(first.mask, second.mask))


def _names(cells: Sequence[Cell]) -> str:
    return f"#{cells[0].cell_id}" if len(cells) == 1 else f"{len(cells)} cells"

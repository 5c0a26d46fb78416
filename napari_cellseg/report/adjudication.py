"""What became of the disagreements of two readers: settled or open, by whom and when, as CSV, as HTML and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from napari_cellseg.atomic import write_errors
from napari_cellseg.measure import write_csv
from napari_cellseg.report.agreement import Agreement, ComparedCell, SettledCell, Verdict, kappa
from napari_cellseg.report.page import number_text
from napari_cellseg.report.times import time_text
from napari_cellseg.review import Cell
from napari_cellseg.review.cells import KEPT
from napari_cellseg.review.settlement import DisputeKind, Outcome
from napari_cellseg.wording import counted

__all__ = ["adjudication_lines", "adjudication_section", "adjudication_table", "outcome_text", "write_adjudication"]

_VERDICTS = {
    DisputeKind.CLASS: (Verdict.CLASS, Verdict.CLASS),
    DisputeKind.OUTLINE: (Verdict.MASK, Verdict.MASK),
    DisputeKind.ONLY_MINE: (Verdict.ONLY_FIRST, Verdict.ONLY_SECOND),
    DisputeKind.ONLY_OTHER: (Verdict.ONLY_SECOND, Verdict.ONLY_FIRST),
}
"""The verdict of each kind of dispute, settled in the project of the first and of the second reader."""


def outcome_text(outcome: Outcome, side: int, readers: tuple[str, str]) -> str:
    """Say how a dispute ended that was settled in the project of the first (0) or of the second reader (1)."""
    if outcome in (Outcome.MINE, Outcome.OTHER):
        return f"as {readers[side if outcome is Outcome.MINE else 1 - side]} decided"
    return str(outcome.value)


def adjudication_table(agreement: Agreement) -> dict[str, list[Any]]:
    """Return the columns of the adjudication: one row per disputed cell, the settled ones of each image first."""
    rows: list[dict[str, Any]] = []
    for image in agreement.images:
        rows += [_settled_row(agreement, one) for one in image.settled]
        rows += [_open_row(agreement, cell) for cell in image.cells if cell.is_open]
    return {name: [row[name] for row in rows] for name in _COLUMNS}


_COLUMNS = (
    "image", "dispute", "state", "outcome", "settled_by", "settled_at", "reader_1", "class_1", "reader_2", "class_2",
    "class_now", "x", "y",
)  # fmt: skip


def _settled_row(agreement: Agreement, one: SettledCell) -> dict[str, Any]:
    settled = one.settled
    classes = [_kept_class(agreement, settled.before), _name(agreement, settled.other_class)]
    first, second = classes if one.side == 0 else classes[::-1]
    return {
        "image": one.image_id,
        "dispute": _VERDICTS[settled.kind][one.side].value,
        "state": "settled",
        "outcome": outcome_text(settled.outcome, one.side, agreement.readers),
        "settled_by": settled.by,
        "settled_at": time_text(settled.at),
        "reader_1": agreement.readers[0],
        "class_1": first,
        "reader_2": agreement.readers[1],
        "class_2": second,
        "class_now": _kept_class(agreement, one.cell),
        **_place(one.cell),
    }


def _open_row(agreement: Agreement, cell: ComparedCell) -> dict[str, Any]:
    place = cell.first or cell.second
    assert place is not None, "one reader has the cell"
    return {
        "image": cell.image_id,
        "dispute": cell.verdict.value,
        "state": "open",
        "outcome": "",
        "settled_by": "",
        "settled_at": "",
        "reader_1": agreement.readers[0],
        "class_1": _kept_class(agreement, cell.first),
        "reader_2": agreement.readers[1],
        "class_2": _kept_class(agreement, cell.second),
        "class_now": "",
        **_place(place),
    }


def _place(cell: Cell) -> dict[str, int]:
    y, x = cell.centre
    return {"x": round(x), "y": round(y)}


def _kept_class(agreement: Agreement, cell: Cell | None) -> str:
    return "" if cell is None or cell.status not in KEPT else _name(agreement, cell.class_id)


def _name(agreement: Agreement, class_id: int) -> str:
    return agreement.classes.name(class_id) if class_id in agreement.classes.class_ids else ""


def write_adjudication(agreement: Agreement, path: Path) -> None:
    """Write the adjudication as CSV.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, adjudication_table(agreement))


def adjudication_lines(agreement: Agreement) -> list[str]:
    """Say how many disagreements there were, are settled and are open, and how the agreement changed; in two lines.

    Empty for readers who never differed; one line while nothing is settled.
    """
    settled, still = agreement.settled, agreement.open
    if not settled and not still:
        return []
    outcomes = ", ".join(f"{count:,} {text}" for text, count in _outcomes(agreement).most_common())
    how = f" ({outcomes})" if settled else ""
    lines = [f"{counted(len(settled) + still, 'disputed cell')}: {len(settled):,} settled{how}, {still:,} open"]
    if settled:
        before, now = kappa(agreement.before.table), kappa(agreement.table)
        lines.append(f"kappa before the first settlement {number_text(before)}, now {number_text(now)}")
    return lines


def _outcomes(agreement: Agreement) -> Counter[str]:
    return Counter(outcome_text(one.settled.outcome, one.side, agreement.readers) for one in agreement.settled)


def adjudication_section(agreement: Agreement) -> str:
    """Return the part of the page about the disputes, as HTML; empty for readers who never differed."""
    lines = adjudication_lines(agreement)
    if not lines:
        return ""
    text = f"<h2>Adjudication</h2><p><strong>{escape(lines[0])}.</strong></p>"
    if not agreement.settled:
        return text
    before = agreement.before
    rows = [_cells("th", ("class", "kappa before", "kappa now", "PQ before", "PQ now"))]
    for class_id, name, _ in agreement.classes:
        figures = (before.class_kappa(class_id), agreement.class_kappa(class_id))
        quality = (before.counts(class_id).pq, agreement.counts(class_id).pq)
        rows.append(_cells("td", (name, *map(number_text, (*figures, *quality)))))
    rows.append(_cells("td", ("all", number_text(kappa(before.table)), number_text(kappa(agreement.table)), "", "")))
    people = Counter(one.settled.by for one in agreement.settled)
    times = [one.settled.at for one in agreement.settled]
    who = ", ".join(f"{name} ({count:,})" for name, count in people.most_common())
    return (
        f"{text}<p>Settled by {escape(who)}, {time_text(min(times))} to {time_text(max(times))} (UTC).</p>"
        f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
        '<p class="muted">"Before" takes each settled cell as it was before its settlement. A disagreement that was '
        "settled as it stood still counts as one in kappa and PQ.</p>"
    )


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)

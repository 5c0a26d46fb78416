"""A cell as a short JSON array, for the annotations file and the journal.

``[cell_id, class_id, score, status, label_value, by, at, box, bits]``; ``bits`` is the mask crop in row-major
order, eight pixels per byte (the first in the highest bit), deflated (zlib) above 256 bytes, in base64. A cell with a
note, a flag or a settled dispute has one more value, an object with ``note``, ``unsure`` and ``settled``. In a journal
``box`` and ``bits`` are null for an unchanged mask; those of the cell before a settlement are null if they are the
cell's own. COCO's RLE is half as long but takes fifty times as long to read:
seconds for the cells of one large image.
"""

from __future__ import annotations

import zlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.json_gate import short
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.formats.rle import MAX_CROP_PIXELS
from napari_cellseg.review import BoolMask, Box, Cell, Status
from napari_cellseg.review.about import tidy_note
from napari_cellseg.review.settlement import Settlement
from napari_cellseg.workspace.schemas import CELL_ROW, NO_MORE, MoreRecord, SettledRecord, text_of

__all__ = ["FROM_LABELS", "cells_of_rows", "rows_of_cells", "sound_cells"]

FROM_LABELS = "class*.tif"
"""The author of cells that come from the label images on disk, until the user changes them."""

DEFLATED = 256
"""Masks above this size, bytes, are deflated."""


_VALUES = 9
"""Values of a row without a note, flag or settlement."""


def rows_of_cells(cells: Iterable[Cell], same_mask: Collection[int] = ()) -> list[list[Any]]:
    """Return one row per cell, without the masks of the ids in ``same_mask``."""
    rows = []
    for cell in cells:
        same = cell.cell_id in same_mask
        place = [None, None] if same else [list(cell.box), _packed(cell.mask)]
        more = _more(cell)
        rows.append([
            cell.cell_id, cell.class_id, cell.score, cell.status.value, cell.label_value, cell.by, cell.at, *place,
            *([more] if more else ()),
        ])  # fmt: skip
    return rows


def cells_of_rows(
    rows: Iterable[object], before: Mapping[int, Cell] | None = None, budget: PixelBudget | None = None
) -> list[Cell]:
    """Return the cells of rows; a mask left out is that of the same cell in ``before``.

    Raises
    ------
    AnnotationError
        A row is not a cell, or the masks exceed the budget.
    """
    return [_cell_of(row, before or {}, budget) for row in rows]


def sound_cells(
    rows: Iterable[object], image_size: tuple[int, int], budget: PixelBudget
) -> tuple[list[Cell], list[str]]:
    """Return the cells of all rows that are valid and fit the image, and the problem of each other row."""
    cells: dict[int, Cell] = {}
    problems = []
    height, width = image_size
    for number, row in enumerate(rows, start=1):
        try:
            cell = _cell_of(row, {}, budget)
            for own in (cell, None if cell.settled is None else cell.settled.before):
                if own is not None and (own.box[2] > width or own.box[3] > height):
                    raise AnnotationError(f"its box {own.box} reaches beyond the {height} x {width} image")
            if cell.cell_id in cells:
                raise AnnotationError(f"there is another cell #{cell.cell_id}")
            cells[cell.cell_id] = cell
        except AnnotationError as error:
            problems.append(f"cell {number}: {str(error).rstrip('.')}")
    return list(cells.values()), problems


def _cell_of(row: object, before: Mapping[int, Cell], budget: PixelBudget | None) -> Cell:
    try:
        row, more = _split(row)
        cell_id, class_id, score, status, label_value, by, at, box, bits = CELL_ROW.validate_python(row)
        if box is None:
            box, mask = before[cell_id].box, before[cell_id].mask
        else:
            mask = _unpacked(bits or "", box, budget)
        if status is Status.ACCEPTED and by == FROM_LABELS:
            status = Status.GIVEN  # version 1 called them accepted, though no one had decided about them
        cell = Cell(
            cell_id=cell_id,
            class_id=class_id,
            score=score,
            status=status,
            box=box,
            mask=mask,
            label_value=label_value,
            by=by,
            at=at,
            note=tidy_note(more.note),
            unsure=more.unsure,
        )
        return cell if more.settled is None else replace(cell, settled=_settlement(more.settled, cell, budget))
    except ValidationError as error:
        raise AnnotationError(f"A cell is damaged: {text_of(error)}.") from error
    except (ValueError, KeyError, zlib.error) as error:
        raise AnnotationError(f"A cell is damaged: {short(row)} ({error}).") from error


def _more(cell: Cell) -> dict[str, Any]:
    more: dict[str, Any] = {"note": cell.note} if cell.note else {}
    if cell.unsure:
        more["unsure"] = True
    if (settled := cell.settled) is not None:
        before = settled.before
        same = () if before is None or not _has_mask_of(before, cell) else (before.cell_id,)
        more["settled"] = {
            "reader": settled.reader,
            "kind": settled.kind.value,
            "outcome": settled.outcome.value,
            "by": settled.by,
            "at": settled.at,
            "other_class": settled.other_class,
            "before": None if before is None else rows_of_cells([before], same)[0],
        }
    return more


def _has_mask_of(first: Cell, second: Cell) -> bool:
    return first.box == second.box and (first.mask is second.mask or np.array_equal(first.mask, second.mask))


def _settlement(record: SettledRecord, cell: Cell, budget: PixelBudget | None) -> Settlement:
    if record.before is not None and record.before[:1] != [cell.cell_id]:
        raise ValueError("it was settled as another cell")
    before = None if record.before is None else _cell_of(record.before[:_VALUES], {cell.cell_id: cell}, budget)
    return Settlement(
        reader=record.reader,
        kind=record.kind,
        outcome=record.outcome,
        by=record.by,
        at=record.at,
        other_class=record.other_class,
        before=before,
    )


def _split(row: object) -> tuple[object, MoreRecord]:
    """Return the first values of a row, and what stands after them."""
    if isinstance(row, list) and len(row) == _VALUES + 1:
        return row[:_VALUES], MoreRecord.model_validate(row[_VALUES])
    return row, NO_MORE


def _packed(mask: BoolMask) -> str:
    packed = np.packbits(mask).tobytes()
    if len(packed) > DEFLATED:
        packed = zlib.compress(packed)
    return b2a_base64(packed, newline=False).decode("ascii")


def _unpacked(bits: str, box: Box, budget: PixelBudget | None) -> BoolMask:
    height, width = box[3] - box[1], box[2] - box[0]
    if height < 1 or width < 1 or height * width > MAX_CROP_PIXELS:
        raise ValueError(f"its box has {width} x {height} px")
    if budget is not None:
        budget.take(height * width)
    packed = a2b_base64(bits)
    count = -(-height * width // 8)
    if height * width > 8 * DEFLATED:
        packed = zlib.decompressobj().decompress(packed, count + 1)  # no more than that, whatever it unpacks to
    if len(packed) != count:
        raise ValueError("its mask does not fill its box")
    flat = np.unpackbits(np.frombuffer(packed, np.uint8), count=height * width)
    mask = flat.view(np.bool_).reshape(height, width)
    if not (mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()):
        raise ValueError("its box is not tight around its mask")
    return mask

"""A cell as a short JSON array, as the annotations file and the journal keep it.

``[cell_id, class_id, score, status, label_value, by, at, box, bits]``; ``bits`` is the mask crop, row by row, eight
pixels a byte (the first in the highest bit), deflated (zlib) when that is more than 256 bytes, in base64. In a journal
``box`` and ``bits`` are null for a mask that is the same as before. COCO's RLE is half as long, and takes fifty times
as long to read: seconds for the cells of one large image.
"""

from __future__ import annotations

import zlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from napari_cellseg.errors import AnnotationError
from napari_cellseg.review import BoolMask, Box, Cell, Status

__all__ = ["cells_of_rows", "rows_of_cells"]

DEFLATED = 256
"""Above so many bytes of pixels, deflating them pays."""


def rows_of_cells(cells: Iterable[Cell], same_mask: Collection[int] = ()) -> list[list[Any]]:
    """Return one row a cell; the masks of the ids in ``same_mask`` are left out."""
    rows = []
    for cell in cells:
        same = cell.cell_id in same_mask
        place = [None, None] if same else [list(cell.box), _packed(cell.mask)]
        rows.append(
            [cell.cell_id, cell.class_id, cell.score, cell.status.value, cell.label_value, cell.by, cell.at, *place]
        )
    return rows


def cells_of_rows(rows: Iterable[Sequence[Any]], before: Mapping[int, Cell] | None = None) -> list[Cell]:
    """Return the cells of rows; a mask that is left out is the one its cell has in ``before``.

    Raises
    ------
    AnnotationError
        A row that is none.
    """
    cells = []
    for row in rows:
        try:
            cell_id, class_id, score, status, label_value, by, at, place, bits = row
            if place is None:
                old = (before or {})[cell_id]
                box, mask = old.box, old.mask
            else:
                x0, y0, x1, y1 = place
                box, mask = (x0, y0, x1, y1), _unpacked(bits, (x0, y0, x1, y1))
            cells.append(Cell(cell_id, class_id, score, Status(status), box, mask, label_value, by, at))
        except (TypeError, ValueError, KeyError, zlib.error) as error:
            raise AnnotationError(f"A cell of the annotations is damaged: {str(row)[:80]} ({error})") from error
    return cells


def _packed(mask: BoolMask) -> str:
    packed = np.packbits(mask).tobytes()
    if len(packed) > DEFLATED:
        packed = zlib.compress(packed)
    return b2a_base64(packed, newline=False).decode("ascii")


def _unpacked(bits: str, box: Box) -> BoolMask:
    height, width = box[3] - box[1], box[2] - box[0]
    packed = a2b_base64(bits)
    if height * width > 8 * DEFLATED:
        packed = zlib.decompress(packed)
    if len(packed) != -(-height * width // 8):
        raise ValueError("its mask does not fill its box")
    flat = np.unpackbits(np.frombuffer(packed, np.uint8), count=height * width)
    return flat.view(np.bool_).reshape(height, width)

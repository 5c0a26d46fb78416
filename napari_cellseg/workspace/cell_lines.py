"""A cell as a short JSON array, as the annotations file and the journal keep it.

``[cell_id, class_id, score, status, label_value, by, at, counts]``; ``counts`` is the COCO RLE of the mask in the full
frame, or null in a journal for a mask that is the same as before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from napari_cellseg.errors import AnnotationError
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Cell, Status
from napari_cellseg.rle import decode, encode_all

__all__ = ["cells_of_rows", "rows_of_cells"]


def rows_of_cells(
    cells: Sequence[Cell], image_size: tuple[int, int], same_mask: Collection[int] = ()
) -> list[list[Any]]:
    """Return one row a cell; the masks of the ids in ``same_mask`` are left out."""
    with_mask = [cell for cell in cells if cell.cell_id not in same_mask]
    instances = InstanceMasks(
        image_size,
        np.array([cell.box for cell in with_mask], np.int32).reshape(-1, 4),
        np.ones(len(with_mask), np.int32),
        np.ones(len(with_mask), np.float32),
        tuple(cell.mask for cell in with_mask),
    )
    counts = {cell.cell_id: text for cell, text in zip(with_mask, encode_all(instances), strict=True)}
    return [
        [
            cell.cell_id,
            cell.class_id,
            cell.score,
            cell.status.value,
            cell.label_value,
            cell.by,
            cell.at,
            counts.get(cell.cell_id),
        ]
        for cell in cells
    ]


def cells_of_rows(
    rows: Sequence[Sequence[Any]], image_size: tuple[int, int], before: Mapping[int, Cell] | None = None
) -> list[Cell]:
    """Return the cells of rows; a mask that is left out is the one its cell has in ``before``.

    Raises
    ------
    AnnotationError
        A row that is none, or a mask that is not for this image size.
    """
    cells = []
    for row in rows:
        try:
            cell_id, class_id, score, status, label_value, by, at, counts = row
            if counts is None:
                old = (before or {})[cell_id]
                box, mask = old.box, old.mask
            else:
                placed = decode(counts, image_size)
                if placed is None:
                    raise AnnotationError(f"cell #{cell_id} has no pixel")
                x0, y0, x1, y1 = placed[0].tolist()
                box, mask = (x0, y0, x1, y1), placed[1]
            cells.append(Cell(int(cell_id), int(class_id), score, Status(status), box, mask, label_value, by, at))
        except (TypeError, ValueError, KeyError, AnnotationError) as error:
            raise AnnotationError(f"A line of the annotations is damaged: {str(row)[:80]} ({error}).") from error
    return cells

"""``python -m napari_cellseg.gui.review.keys_page``: prints docs/keys.md, which is made from `REVIEW_ACTIONS`."""

from __future__ import annotations

import sys

from napari_cellseg.gui.review.action import ReviewAction, Where
from napari_cellseg.gui.review.action_table import MOUSE, REVIEW_ACTIONS
from napari_cellseg.gui.widgets.class_key import CLASSES_WITH_KEY, class_key

__all__ = ["keys_page"]

_HEAD = """\
# Keys and buttons of the review

Made from the table `REVIEW_ACTIONS` by `python -m napari_cellseg.gui.review.keys_page > docs/keys.md`; do not edit.

The keys work on the canvas while a class layer, the image of the open folder or no layer is active, and in *Open*,
*Segment*, *Review*, *Gallery* and *Table*. Layers of other plugins, and images that napari opened, keep napari's keys.
Enter or Escape leaves a number field. F1 shows this list.

| Key | Button | What it does |
| --- | --- | --- |
"""


def keys_page() -> str:
    """Return the page, as Markdown."""
    rows = [_row(row) for row in REVIEW_ACTIONS if not row.id.startswith("class_")]
    tip = "Give the selected cells a class, or accept them if they have it"
    classes = f"| {class_key(1)} ... {class_key(CLASSES_WITH_KEY)} | | {tip} |"
    rows.insert(next(i for i, row in enumerate(REVIEW_ACTIONS) if row.id.startswith("class_")), classes)
    return _HEAD + "\n".join([*rows, *(f"| {keys} | | {text} |" for keys, text in MOUSE)]) + "\n"


def _row(row: ReviewAction) -> str:
    place = "" if row.where is Where.EVERYWHERE else f" ({row.where.value})"
    return f"| {', '.join(row.keys)} | {row.text} | {row.tip}{place} |"


if __name__ == "__main__":
    sys.stdout.write(keys_page())

"""The journal of one image: the changes of each command, appended immediately as one checksummed line.

The first line names the annotations that the journal continues. A line is the CRC-32 of the rest in hexadecimal, a
space, and JSON. A killed program may leave half a line at the end; reading stops there.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.damaged import keep_damaged
from napari_cellseg.formats.file_gate import read_bytes
from napari_cellseg.formats.json_gate import parse_json
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.review import About, Cell, Change, ChangeKind
from napari_cellseg.review.about import NOTHING
from napari_cellseg.workspace.about_lines import about_of, about_record
from napari_cellseg.workspace.annotations import Annotations
from napari_cellseg.workspace.cell_lines import cells_of_rows, rows_of_cells
from napari_cellseg.workspace.schemas import ChangeRecord, FlagRecord, JournalStart

__all__ = ["Journal", "Recovery", "change_record", "pack", "read_journal", "start_record"]

FORMAT = "napari-cellseg journal"
VERSION = 3
"""Version 3 may have settlements, which an earlier program would lose."""
_MOST_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Edits that were made but not saved.

    Parameters
    ----------
    image_id : str
    edits : int
        Number of edits, including undone ones; the tiles of a segmentation are one.
    first_at, last_at : float
        Time of the first and the last edit, seconds since 1970.
    last_text : str
        Description of the last edit.
    user : str
        Name of the user who made them.
    """

    image_id: str
    edits: int
    first_at: float
    last_at: float
    last_text: str
    user: str


@dataclass(frozen=True)
class Journal:
    """The content of a journal file: its first line, the changes after it, and the end of the intact part."""

    start: Mapping[str, Any]
    changes: Sequence[Mapping[str, Any]]
    end: int

    @property
    def base(self) -> str:
        """The revision of the annotations that the changes start from."""
        return str(self.start["base"])

    @property
    def has_cells(self) -> bool:
        """Whether the first line holds the initial cells."""
        return self.start.get("cells") is not None

    @property
    def text(self) -> str:
        """Description of the last change."""
        return str(self.changes[-1]["text"])

    def recovery(self, image_id: str) -> Recovery:
        """Describe the edits that can be recovered."""
        first, last = self.changes[0], self.changes[-1]
        user = str(self.start.get("user", ""))
        runs = [_run_of(change) for change in self.changes]
        one_run = [run is not None and run == before for before, run in pairwise([None, *runs])]  # tile after tile
        edits = sum(int(change.get("edits", 1)) for change, more in zip(self.changes, one_run, strict=True) if not more)
        return Recovery(
            image_id=image_id,
            edits=edits,
            first_at=float(first["at"]),
            last_at=float(last["at"]),
            last_text=str(last["text"]),
            user=user,
        )

    def begins_with(self) -> Annotations | None:
        """Return the initial cells of a journal that continues no saved annotations."""
        if not self.has_cells:
            return None
        size = (int(self.start["image_size"][0]), int(self.start["image_size"][1]))
        cells = tuple(cells_of_rows(self.start["cells"], budget=PixelBudget(self.end)))
        return Annotations(
            image_size=size,
            classes=ClassTable.from_json(self.start["classes"]),
            cells=cells,
            revision=self.base,
            about=self.about(NOTHING, changes=False),
        )

    def about(self, before: About, *, changes: bool = True) -> About:
        """Return the note and flag of the image after all changes, or before them, where it had ``before``."""
        records = [self.start, *(self.changes if changes else ())]
        found = [record["about"] for record in records if record.get("about") is not None]
        return about_of(FlagRecord.model_validate(found[-1])) if found else before

    def replay(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """Repeat all changes.

        Raises
        ------
        AnnotationError
            A change does not fit the cells.
        """
        now = {cell.cell_id: cell for cell in cells}
        budget = PixelBudget(self.end)
        for change in self.changes:
            put = cells_of_rows(change["put"], now, budget)
            for cell_id in change["gone"]:
                if (old := now.pop(cell_id, None)) is not None:
                    budget.give_back(old.mask.size)
            for cell in put:
                before = now.get(cell.cell_id)
                if before is not None and before.mask is not cell.mask:
                    budget.give_back(before.mask.size)
                now[cell.cell_id] = cell
        return tuple(now.values())


def _run_of(change: Mapping[str, Any]) -> str | None:
    """Return the model whose proposals a change brings; None if it brings none."""
    found = re.fullmatch(r"\d+ proposals from (.*)", str(change["text"]), re.DOTALL)
    return None if found is None or change.get("kind") != ChangeKind.DO.value else found[1]


def pack(record: Mapping[str, Any]) -> bytes:
    """Return the line of a record."""
    body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def start_record(annotations: Annotations, *, saved: bool, user: str) -> dict[str, Any]:
    """Return the first record; it holds the cells if no saved annotations have them."""
    cells = None if saved else rows_of_cells(annotations.cells)
    return {
        "format": FORMAT,
        "version": VERSION,
        "base": annotations.revision,
        "user": user,
        "image_size": list(annotations.image_size),
        "classes": annotations.classes.to_json(),
        "cells": cells,
        **({"about": about_record(annotations.about)} if cells is not None and annotations.about else {}),
    }


def change_record(change: Change, at: float) -> dict[str, Any]:
    """Return the record of a command, an undo or a redo."""
    put = [after for _, after in change.pairs if after is not None]
    same = {after.cell_id for before, after in change.pairs if before and after and before.mask is after.mask}
    return {
        "at": at,
        "text": change.text,
        "kind": change.kind.value,
        "gone": [before.cell_id for before, after in change.pairs if before is not None and after is None],
        "put": rows_of_cells(put, same),
        **({} if change.about is None else {"about": about_record(change.about)}),
    }


def read_journal(path: Path) -> Journal | None:
    """Read a journal up to its first damaged line; None if it has no intact line or does not exist.

    A truncated last line is normal after a program was killed. On any other damage, a copy of the whole file is kept
    under another name, and a warning is logged.

    Raises
    ------
    AnnotationError
        The file cannot be opened, or a later version wrote it.
    """
    if not path.exists():
        return None
    try:
        content = read_bytes(path, most_bytes=_MOST_BYTES, may_be_empty=True)
    except AnnotationError:
        if not path.exists():  # its writer removed it meanwhile, after a save
            return None
        raise
    records: list[dict[str, Any]] = []
    end = 0
    for line in content.splitlines(keepends=True):
        record = _unpacked(line, ChangeRecord if records else JournalStart)
        if record is None:
            break
        records.append(record)
        end += len(line)
        if len(records) == 1 and record["version"] > VERSION:
            raise AnnotationError(f"A later version of napari-cellseg wrote {path}; update to recover from it.")
    if b"\n" in content[end:]:
        keep_damaged(path, content, f"only lines 1 to {len(records)} can be read")
    return Journal(records[0], records[1:], end) if records else None


def _unpacked(line: bytes, schema: type[JournalStart | ChangeRecord]) -> dict[str, Any] | None:
    checksum, _, body = line.partition(b" ")
    if not body.endswith(b"\n"):
        return None
    body = body[:-1]
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        record = parse_json(body, "the line")
        schema.model_validate(record)
    except (AnnotationError, ValidationError):
        return None
    is_start = record.get("format") == FORMAT
    return dict(record) if is_start == (schema is JournalStart) else None

"""The accounting of an import: each row becomes a cell, a part of one, or an entry in the list of left-out rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import DEFAULT_COLOURS, ClassTable
from napari_cellseg.errors import AnnotationError, CellSegError
from napari_cellseg.formats.pixel_budget import PixelBudget
from napari_cellseg.formats.rle import Decoded
from napari_cellseg.importers.result import Imported, ImportedImage, ImportOptions, LeftOut, Unusable
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted

__all__ = ["Collector", "Draft", "Row"]

_MALFORMED = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


@dataclass(eq=False, kw_only=True)
class Draft:
    """An image whose cells are being collected; ``problem`` states why none can be kept."""

    name: str
    path: Path | None
    size: tuple[int, int]
    problem: str = ""
    pixels: Callable[[], npt.NDArray[Any]] | None = None
    cells: list[tuple[str, Decoded, float, int]] = field(default_factory=list)


class Row:
    """One row of the source during reading: `keep` or `join` it, or raise `Unusable`."""

    def __init__(self, collector: Collector, source: str, number: int, draft: Draft | None) -> None:
        self._collector, self._source, self._number, self._draft = collector, source, number, draft
        self.done = False

    def keep(
        self, class_name: str, cell: Decoded | None, *, score: object = None, value: object = None, remark: str = ""
    ) -> None:
        """Keep the row as a cell.

        Parameters
        ----------
        class_name : str
        cell : (box, crop) or None
            None if no pixel of it is inside the image.
        score : float, optional
            0..1; any other value counts as 1 and adds a note.
        value : int, optional
            Value for the label image.
        remark : str
            A difference from the source, such as a clipped part.
        """
        if self._draft is None:
            raise Unusable("its image is not in the source")
        self._collector.check(self._draft)
        if cell is None:
            raise Unusable("no pixel of it is inside the image")
        name = self._collector.class_of(class_name)
        self._collector.take(cell[1].size)
        usable = isinstance(score, (int, float, np.number)) and not isinstance(score, bool) and 0 <= float(score) <= 1
        if score is not None and not usable:
            remark = remark or f"its score {score!r:.20} is not within 0..1; it counts as 1"
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 < value < 2**53
        number = int(value) if whole else 0  # type: ignore[call-overload]
        self._draft.cells.append((name, cell, float(score) if usable else 1.0, number))  # type: ignore[arg-type]
        if remark:
            self._collector.clipped.append(LeftOut(self._source, self._number, self._draft.name, remark))
        self.done = True

    def join(self) -> None:
        """Count the row as a part of another row's cell."""
        self._collector.joined += 1
        self.done = True


class Collector:
    """Collects the images, classes, cells and rejected rows of one source.

    Parameters
    ----------
    options : ImportOptions
    source_bytes : int
        Size of the source: its cells may have so many pixels together.
    """

    def __init__(self, options: ImportOptions, source_bytes: int = 0) -> None:
        self.options = options
        self._budget, self._is_full = PixelBudget(source_bytes), ""
        self.drafts: list[Draft] = []
        self.left_out: list[LeftOut] = []
        self.clipped: list[LeftOut] = []
        self.by_path: dict[Path, tuple[str, Draft, tuple[str, ...]]] = {}
        self.also_read: set[Path] = set()
        self.joined = 0
        self._rows = 0
        self._notes: dict[str, None] = {}
        self._classes: dict[str, str] = {options.rename.get(name, name): "" for name in options.classes}

    def draft(self, draft: Draft) -> Draft:
        """Add an image."""
        self.drafts.append(draft)
        return draft

    def check(self, draft: Draft) -> None:
        """Raise `Unusable` when no cell of an image can be kept: to be asked before a mask is decoded."""
        if draft.problem or self._is_full:
            raise Unusable(draft.problem or self._is_full)

    def take(self, pixels: int) -> None:
        """Count the pixels of a mask; when they are too many, neither this mask nor a later one is kept."""
        try:
            self._budget.take(pixels)
        except AnnotationError as error:
            self._is_full = str(error)
            raise Unusable(self._is_full) from error

    def declare(self, name: str, colour: str = "") -> None:
        """Add a class in the order of the source, whether it has cells or not."""
        name = self.options.rename.get(name.strip(), name.strip())
        if name and (not self.options.classes or name in self._classes):
            usable = re.fullmatch("#[0-9a-f]{6}", colour.lower()) is not None
            self._classes[name] = self._classes.get(name) or (colour.lower() if usable else "")

    def class_of(self, name: str) -> str:
        """Return the new name of a class of the source; raise `Unusable` if the class was not requested."""
        name = self.options.rename.get(name.strip(), name.strip())
        if not name:
            raise Unusable("it has no class")
        if name not in self._classes:
            if self.options.classes:
                raise Unusable(f"its class {name!r} is not among the requested classes")
            self._classes[name] = ""
        return name

    @contextmanager
    def row(self, source: str, number: int, draft: Draft | None) -> Iterator[Row]:
        """Read one row; an error leaves out only this row."""
        self._rows += 1
        row = Row(self, source, number, draft)
        try:
            yield row
            if not row.done:
                raise Unusable("it is no cell")
        except Unusable as error:
            self._leave(source, number, draft, str(error))
        except CellSegError as error:
            self._leave(source, number, draft, str(error).rstrip("."))
        except _MALFORMED as error:
            self._leave(source, number, draft, f"it cannot be read ({type(error).__name__})")

    def leave_out_file(self, source: str, reason: str) -> None:
        """Count a whole file as one left-out row."""
        self._rows += 1
        self.left_out.append(LeftOut(source, 0, "", reason.rstrip(".")))

    def note(self, text: str) -> None:
        """Add a note for the user, once."""
        self._notes[text] = None

    def result(self, source: Path, format_name: str) -> Imported:
        """Return what was collected."""
        usable = [draft for draft in self.drafts if not draft.problem]
        for draft in self.drafts:
            if draft.problem and not any(item.image == draft.name for item in self.left_out):
                self.note(f"{draft.name} is left out: {draft.problem}.")
        names = tuple(self._classes) or ("cell",)
        colours = tuple(
            self._classes.get(name) or DEFAULT_COLOURS[i % len(DEFAULT_COLOURS)] for i, name in enumerate(names)
        )
        class_ids = {name: i for i, name in enumerate(names, start=1)}
        images = tuple(
            ImportedImage(draft.name, draft.path, _cells(draft, class_ids), draft.pixels) for draft in usable
        )
        if self.clipped:
            reasons: dict[str, int] = {}
            for item in self.clipped:
                reasons[item.reason] = reasons.get(item.reason, 0) + 1
            for reason, count in reasons.items():
                self.note(f"{counted(count, 'kept cell')}: {reason}.")
        return Imported(
            source=source,
            format_name=format_name,
            images=images,
            classes=ClassTable(names, colours),
            left_out=tuple(self.left_out),
            notes=tuple(self._notes),
            rows=self._rows,
            joined=self.joined,
            clipped=tuple(self.clipped),
        )

    def _leave(self, source: str, number: int, draft: Draft | None, reason: str) -> None:
        self.left_out.append(LeftOut(source, number, "" if draft is None else draft.name, reason))


def _cells(draft: Draft, class_ids: dict[str, int]) -> InstanceMasks:
    if not draft.cells:
        return InstanceMasks.empty(draft.size)
    names, decoded, scores, values = zip(*draft.cells, strict=True)
    given = np.array(values, np.int64)
    free = int(given.max()) + 1
    given[given == 0] = np.arange(free, free + int((given == 0).sum()))
    return InstanceMasks(
        image_size=draft.size,
        boxes=np.stack([box for box, _ in decoded]),
        class_ids=np.array([class_ids[name] for name in names]),
        scores=np.array(scores, np.float32),
        masks=tuple(mask for _, mask in decoded),
        label_values=given,
    )

"""The result of an import: the cells that were kept, and every row that was left out, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.classes import ClassTable
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.wording import counted

__all__ = ["ImportOptions", "Imported", "ImportedImage", "LeftOut", "Unusable"]


class Unusable(ValueError):
    """A row cannot become a cell; the text is the reason. The importers never raise it to their callers."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The user's options for a source.

    Attributes
    ----------
    images : Path, optional
        Folder of the images, if they are not next to the annotations.
    classes : tuple of str
        The classes in the order of their class_ids; rows of other classes are left out. Empty: the source's.
    rename : mapping
        New names of classes, by the name in the source; two classes with the same new name are merged.
    split : str
        How to split a label image in which all cells share one value: "no", "parts" (connected components are cells)
        or "touching" (components are also cut at their narrow parts).
    need_images : bool
        Leave out images whose file is missing; otherwise their size is enough, if the source states it.
    colours : mapping
        Class names by ``(red, green, blue)``, for annotations that are colour images.
    """

    images: Path | None = None
    classes: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    split: str = "no"
    need_images: bool = True
    colours: Mapping[tuple[int, int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """A row of a source that became no cell.

    Attributes
    ----------
    source : str
        The file of the row.
    row : int
        Its number in the file, from 1; its value in a label image; 0 for the whole file.
    image : str
        Its image; empty if unknown.
    reason : str
    """

    source: str
    row: int
    image: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.source}, row {self.row}" if self.row else self.source
        return f"{where}{f' ({self.image})' if self.image else ''}: {self.reason}"


@dataclass(frozen=True, eq=False)
class ImportedImage:
    """An image of a source and its cells.

    Attributes
    ----------
    name : str
        Name in the source, with ``/`` between folders; unique in the source.
    path : Path, optional
        The image file; None if the source has the pixels in another form.
    cells : InstanceMasks
    pixels : callable, optional
        Returns (H, W, 3) uint8 for an image without its own file.
    """

    name: str
    path: Path | None
    cells: InstanceMasks
    pixels: Callable[[], npt.NDArray[Any]] | None = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.cells.image_size


@dataclass(frozen=True, eq=False, kw_only=True)
class Imported:
    """The whole content of a source. Always, ``kept + joined + len(left_out) == rows``.

    Attributes
    ----------
    source : Path
    format_name : str
        Title of the importer.
    images : tuple of ImportedImage
        Images that were found, with and without cells.
    classes : ClassTable
    left_out : tuple of LeftOut
    notes : tuple of str
        Notes for the user, one sentence each.
    rows : int
        Annotations in the source.
    joined : int
        Rows that became a part of another row's cell.
    clipped : tuple of LeftOut
        Cells that were kept but reached beyond the image or lost a part.
    """

    source: Path
    format_name: str
    images: tuple[ImportedImage, ...]
    classes: ClassTable
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    rows: int
    joined: int = 0
    clipped: tuple[LeftOut, ...] = ()

    @property
    def kept(self) -> int:
        """Cells of all images."""
        return sum(len(image.cells) for image in self.images)

    def reasons(self) -> list[tuple[str, int]]:
        """Return each reason with its number of left-out rows, the most frequent first."""
        return Counter(item.reason for item in self.left_out).most_common()

    def headline(self) -> str:
        """Return "kept 74 cells of 2 classes in 3 images; left out 2 because ..."."""
        used = len({int(value) for image in self.images for value in np.unique(image.cells.class_ids)})
        classes = counted(used, "class", "classes")
        text = f"kept {counted(self.kept, 'cell')} of {classes} in {counted(len(self.images), 'image')}"
        if not self.left_out:
            return text + "; left out none"
        reasons = self.reasons()
        shown = [f"{reason} ({count})" if len(reasons) > 1 else reason for reason, count in reasons[:4]]
        more = f"; and {counted(len(reasons) - 4, 'other reason')}" if len(reasons) > 4 else ""
        return f"{text}; left out {len(self.left_out):,} because {', '.join(shown)}{more}"

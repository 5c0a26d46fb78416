"""What an importer returns: the cells that were kept, and every row that was left out, with the reason."""

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
    """One row cannot become a cell; its text is the reason. It never leaves the importers."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the user says about a source.

    Attributes
    ----------
    images : Path, optional
        Where the images are, when they are not next to the annotations.
    classes : tuple of str
        The classes in the order of their class_ids; rows of other classes are left out. Empty: those of the source.
    rename : mapping
        New names of classes, by the name in the source; two classes that get one name become one.
    split : str
        What is done with a label image in which all cells share one value: "no", "parts" (connected components are
        cells) or "touching" (and these are cut at their waists).
    need_images : bool
        Leave out images that are not there; else their size is enough, if the source gives it.
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
    """One row of a source that gave no cell.

    Attributes
    ----------
    source : str
        The file it is in.
    row : int
        Its number there, from 1; of a label image its value; 0 for the whole file.
    image : str
        The image it belongs to; empty when that is not known.
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
        As the source calls it, with ``/`` between folders; unique in the source.
    path : Path, optional
        The image file; None when the source holds the pixels in another way.
    cells : InstanceMasks
    pixels : callable, optional
        Returns (H, W, 3) uint8 for an image that has no file of its own.
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
    """All of a source. ``kept + joined + len(left_out) == rows``, always.

    Attributes
    ----------
    source : Path
    format_name : str
        Title of the importer.
    images : tuple of ImportedImage
        Those whose image was found, with and without cells.
    classes : ClassTable
    left_out : tuple of LeftOut
    notes : tuple of str
        What the user should know, one sentence each.
    rows : int
        Annotations in the source.
    joined : int
        Rows that became a part of the cell of another row.
    clipped : tuple of LeftOut
        Cells that were kept, but reached beyond the image or lost a part.
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
        """Return each reason with the number of rows left out for it, the most frequent first."""
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

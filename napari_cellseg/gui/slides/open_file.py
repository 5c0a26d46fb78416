"""`OpenCells`: an open file of the cells of a slide, and which class and place here each of its cells has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_cellseg.class_match import lacking_classes, match_classes
from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import ConfigError
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.images.slide_levels import SlideLevels
from napari_cellseg.wording import listed
from napari_cellseg.workspace.slide_cells import open_cells

__all__ = ["OpenCells", "matched_classes"]


class OpenCells:
    """A file of the cells of a slide; close it with `close`.

    Parameters
    ----------
    path : Path
    levels : SlideLevels

    Attributes
    ----------
    readers : tuple of CellReader
        One for each thread; the first is for the window's.
    classes : ClassTable
        Of the model.
    factor : float
        Side of a pixel of the file, px of the slide.
    match : dict of int to int
        The class_id here of each class_id of the file; set by `match_to`.

    Raises
    ------
    CellSegError
        The file is no store of this slide.
    """

    def __init__(self, path: Path, levels: SlideLevels) -> None:
        reader = open_cells(path, levels)
        try:
            self.classes = reader.classes or ClassTable.numbered(reader.highest_class())
            self._file = path.stat()
            self.readers = reader, CellReader(path), CellReader(path)
        except BaseException:
            reader.close()
            raise
        self.path = path
        self.factor = levels.size[1] / reader.image_size[1]
        self.match: dict[int, int] = {}

    def is_of(self, path: Path) -> bool:
        """Return whether this is the file at a path, and not one that a new run replaced."""
        return self.path == path and path.is_file() and os.path.samestat(self._file, path.stat())

    def match_to(self, here: ClassTable, names: Mapping[str, str]) -> bool:
        """Find the class here of each class of the file; return whether it is another than before.

        Raises
        ------
        ConfigError
            As `matched_classes`.
        """
        if self.match and max(self.match.values()) <= len(here):
            return False  # a class that is renamed keeps its number
        before, self.match = self.match, matched_classes(self.classes, here, names, self.path.name)
        return self.match != before

    def names_here(self, here: ClassTable) -> dict[str, str]:
        """Return the name here of each class of the file, by its name there."""
        return {self.classes.name(there): here.name(class_id) for there, class_id in self.match.items()}

    def counts_here(self, counts: npt.NDArray[np.int32], here: ClassTable) -> npt.NDArray[np.int32]:
        """Return counts by class of the file, (K, h, w), by class here."""
        found = np.zeros((max(len(here), *self.match.values()), *counts.shape[1:]), np.int32)
        for there in range(1, len(counts) + 1):
            class_id = self.match.get(there, there)
            if class_id <= len(found):
                found[class_id - 1] += counts[there - 1]
        return found

    def close(self) -> None:
        """Close the file."""
        for reader in self.readers:
            reader.close()


def matched_classes(of_file: ClassTable, here: ClassTable, names: Mapping[str, str], file_name: str) -> dict[int, int]:
    """Return the class_id of the project for each class_id of a file of cells.

    Parameters
    ----------
    of_file, here : ClassTable
    names : mapping of str to str
        The names that classes of the file were given here.
    file_name : str

    Raises
    ------
    ConfigError
        The project lacks a class of the file.
    """
    renamed = [names[name] if names.get(name) in here.names else name for name in of_file.names]
    if len(set(renamed)) == len(renamed):
        of_file = ClassTable(tuple(renamed), of_file.colours)
    lacking = lacking_classes(of_file, here)
    if lacking:
        raise ConfigError(
            f"The cells of {file_name} are not shown: the project lacks {listed(lacking)}. Add what it lacks in Open, "
            "or give the class that means the same this name."
        )
    return match_classes(of_file, here)

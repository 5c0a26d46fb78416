"""Finds the cells of a slide, and refuses those of another image."""

from __future__ import annotations

from pathlib import Path

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.cell_reader import CellReader
from napari_cellseg.images.slide_levels import SlideLevels
from napari_cellseg.images.stamp import image_stamp

__all__ = ["check_is_of", "open_cells"]


def open_cells(path: Path, levels: SlideLevels) -> CellReader:
    """Open the store of the cells of a slide.

    Raises
    ------
    AnnotationError
        The file is not a store, is damaged, or has the cells of another image.
    """
    reader = CellReader(path)
    try:
        check_is_of(reader, levels)
    except BaseException:
        reader.close()
        raise
    return reader


def check_is_of(reader: CellReader, levels: SlideLevels) -> None:
    """Raise an `AnnotationError` unless the cells are of a level of a slide, and of this file as far as is known."""
    height, width = reader.image_size
    if (height, width) not in levels.sizes:
        raise AnnotationError(
            f"{reader.path} has the cells of an image of {width} x {height} px, not of a level of {levels.path.name}. "
            "Choose the file that predict wrote for this slide."
        )
    made_from = reader.facts.get("made_from")
    stamp = made_from.get("image") if isinstance(made_from, dict) else None
    if stamp is not None and stamp != image_stamp(levels.path):
        raise AnnotationError(
            f"{reader.path} has the cells of another file than {levels.path.name}, or of an earlier version of it. "
            "Choose the file that predict wrote for this slide, or segment the slide again."
        )

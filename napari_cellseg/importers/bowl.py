"""The Data Science Bowl 2018: ``<id>/images/<id>.png`` and ``<id>/masks/*.png``, one file per nucleus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_cellseg.errors import CellSegError
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.drawing import cell_of_mask
from napari_cellseg.importers.image_files import read_values
from napari_cellseg.importers.image_index import is_image
from napari_cellseg.importers.matching import draft_of_file
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]


def find(source: Source) -> list[Path]:
    """Return the image of each folder that has ``images`` with one image and ``masks`` with any number."""
    found = []
    for file in source.files:
        if file.parent.name == "images" and is_image(file) and (file.parent.parent / "masks").is_dir():
            others = [other for other in file.parent.iterdir() if is_image(other)]
            if len(others) == 1 and file.stem == file.parent.parent.name:
                found.append(file)
    return found


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read all folders; a row is a mask file."""
    for file in files:
        draft = draft_of_file(source, collector, source.shown(file.parent.parent / "masks"), file)
        for mask in sorted((file.parent.parent / "masks").iterdir()):
            if not is_image(mask) or mask.name.startswith("."):
                continue
            collector.also_read.add(mask)
            with collector.row(source.shown(mask), 1, draft) as row:
                collector.check(draft)
                try:
                    values = read_values(mask)
                except CellSegError as error:
                    raise Unusable(str(error).rstrip(".")) from error
                inside = np.asarray(values[..., :3] if values.ndim == 3 else values[..., None]).any(2)
                if inside.shape != draft.size:
                    raise Unusable(f"the mask has {inside.shape[0]} x {inside.shape[1]} px, the image {draft.size}")
                row.keep("nucleus", cell_of_mask(inside))

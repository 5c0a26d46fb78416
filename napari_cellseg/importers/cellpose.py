"""Cellpose: ``<image>_seg.npy`` and the masks it saves, ``<image>_cp_masks.png`` or ``.tif``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellseg.errors import CellSegError
from napari_cellseg.formats.plain_pickle import load_plain_npy
from napari_cellseg.importers.collect import Collector
from napari_cellseg.importers.image_index import is_image
from napari_cellseg.importers.label_files import read_label_file
from napari_cellseg.importers.label_values import cells_of
from napari_cellseg.importers.matching import draft_of_stem
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

_SEG, _MASKS = "_seg.npy", "_cp_masks"


def find(source: Source) -> list[Path]:
    """Return the ``_seg.npy`` files, and the masks of images that have none."""
    packed = source.named(_SEG)
    done = {file.with_name(file.name.removesuffix(_SEG)) for file in packed}
    masks = [file for file in source.files if is_image(file) and file.stem.endswith(_MASKS)]
    return packed + [file for file in masks if file.with_name(file.stem.removesuffix(_MASKS)) not in done]


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read one image per file; all cells have the same class."""
    source.images.ignored.update(files)
    for file in files:
        if is_image(file):
            draft = draft_of_stem(source, collector, file, file.stem.removesuffix(_MASKS))
            read_label_file(source, collector, file, draft, "")
            continue
        name = source.shown(file)
        try:
            content = load_plain_npy(file)
        except CellSegError as error:
            collector.leave_out_file(name, str(error))
            continue
        masks = content.get("masks") if isinstance(content, dict) else content
        _read_masks(source, collector, file, masks)


def _read_masks(source: Source, collector: Collector, file: Path, masks: Any) -> None:
    name = source.shown(file)
    masks = np.squeeze(masks) if isinstance(masks, np.ndarray) else masks
    if not isinstance(masks, np.ndarray) or masks.ndim != 2 or masks.dtype.kind not in "buif":
        collector.leave_out_file(name, "it has no masks of a single plane")
        return
    draft = draft_of_stem(source, collector, file, file.name.removesuffix(_SEG))
    for entry in cells_of(masks).cells:
        with collector.row(name, entry.value, draft) as row:
            collector.check(draft)
            if masks.shape != draft.size:
                raise Unusable(f"its masks have {masks.shape[0]} x {masks.shape[1]} px, the image {draft.size}")
            if entry.reason:
                raise Unusable(entry.reason)
            row.keep("cell", entry.cell, value=entry.value)

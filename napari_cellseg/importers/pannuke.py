"""PanNuke as published: ``images.npy`` and ``masks.npy`` of a fold, with one instance plane per class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellseg.errors import CellSegError, ImageReadError
from napari_cellseg.importers.collect import Collector, Draft
from napari_cellseg.importers.label_values import cells_of
from napari_cellseg.importers.result import Unusable
from napari_cellseg.importers.source import Source

__all__ = ["find", "read"]

# Gamper et al., "PanNuke Dataset Extension, Insights and Baselines", 2020; the sixth plane is background.
_CLASSES = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")


def find(source: Source) -> list[Path]:
    """Return the ``masks.npy`` files."""
    return [file for file in source.named("masks.npy") if file.name.lower() == "masks.npy"]


def read(source: Source, files: Sequence[Path], collector: Collector) -> None:
    """Read all folds; a row is one instance."""
    for name in _CLASSES:
        collector.declare(name)
    for file in files:
        shown = source.shown(file)
        try:
            masks = _array(file)
            images = _array(_images(source, file))
        except CellSegError as error:
            collector.leave_out_file(shown, str(error))
            continue
        if masks.ndim != 4 or masks.shape[3] not in (5, 6) or images.shape != (*masks.shape[:3], 3):
            collector.leave_out_file(shown, f"its shape {masks.shape} does not fit that of images.npy {images.shape}")
            continue
        _read_fold(file, shown, masks, images, collector)


def _images(source: Source, file: Path) -> Path:
    near = file.with_name("images.npy")
    folder = file.parent
    # Fold 1/masks/fold1/masks.npy belongs to Fold 1/images/fold1/images.npy.
    published = folder.parent.parent / "images" / folder.name / "images.npy"
    for candidate in (near, published, folder.parent / "images" / "images.npy"):
        if candidate.is_file():
            return candidate
    raise ImageReadError(f"there is no images.npy for it in {source.root}")


def _array(file: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's parser of a damaged header can raise anything
        text = " ".join(str(error).split())[:200]
        raise ImageReadError(f"{file.name} cannot be read: it is no array of numbers, or damaged ({text})") from error
    if array.dtype.kind not in "buif":
        raise ImageReadError(f"{file.name} has {array.dtype} values, not numbers")
    return array


def _read_fold(file: Path, shown: str, masks: npt.NDArray[Any], images: npt.NDArray[Any], collector: Collector) -> None:
    fold, number = file.parent.name if file.parent.name.lower() != "masks" else file.parent.parent.name, 0
    size = int(masks.shape[1]), int(masks.shape[2])
    for index in range(len(masks)):
        name = f"{fold}_{index + 1:04d}"
        draft = collector.draft(Draft(name=name, path=None, size=size, pixels=partial(_pixels, images, index)))
        for plane, class_name in enumerate(_CLASSES):
            for entry in cells_of(np.asarray(masks[index, :, :, plane])).cells:
                number += 1
                with collector.row(shown, number, draft) as row:
                    if entry.reason:
                        raise Unusable(entry.reason)
                    row.keep(class_name, entry.cell)


def _pixels(images: npt.NDArray[Any], index: int) -> npt.NDArray[np.uint8]:
    return np.clip(np.nan_to_num(np.asarray(images[index], np.float64)), 0, 255).astype(np.uint8)

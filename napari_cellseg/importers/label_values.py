"""Converts label images of any kind to cells: integers, floats, grey saved as colour, colours, binary masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.label_checks import TOUCHING, looks_like_classes, split_advice
from napari_cellseg.formats.rle import Decoded
from napari_cellseg.importers.drawing import label_cells

__all__ = ["LabelCell", "LabelCells", "cells_of", "most_frequent"]

_LARGEST = 2**53


@dataclass(frozen=True, eq=False)
class LabelCell:
    """One value of a label image: its cell, or the reason why it was left out."""

    value: int
    cell: Decoded | None
    reason: str = ""
    class_name: str = ""


@dataclass(frozen=True, eq=False)
class LabelCells:
    """All values of a label image, and notes for the user."""

    cells: tuple[LabelCell, ...]
    notes: tuple[str, ...] = ()


def cells_of(
    values: npt.NDArray[Any], split: str = "no", colours: Mapping[tuple[int, int, int], str] | None = None
) -> LabelCells:
    """Convert the values from `read_values` to cells.

    Parameters
    ----------
    values : (H, W), (H, W, 2|3|4)
    split : str
        As in `ImportOptions`.
    colours : mapping, optional
        Class names by colour: the connected parts of each colour are cells.

    Returns
    -------
    LabelCells
        One entry with a reason, when the values are scattered as in a photograph.
    """
    try:
        return _cells_of(values, split, colours)
    except AnnotationError as error:
        return LabelCells((LabelCell(0, None, str(error)),))


def _cells_of(values: npt.NDArray[Any], split: str, colours: Mapping[tuple[int, int, int], str] | None) -> LabelCells:
    notes: list[str] = []
    if values.ndim == 3:
        values = values[..., :3] if values.shape[2] > 2 else values[..., :1]
        if (values == values[..., :1]).all():
            values = values[..., 0]
            notes.append("a grey image that was saved as colour; its grey values are read")
        elif colours:
            return _of_colours(values, colours)
        else:
            values = _numbered(values)
            notes.append("a colour image without a table of colours; each colour is one cell, black is background")
    labels, rejected = _whole_numbers(values, notes)
    if (labels < 0).any():
        labels, negative = _without_negative(labels, notes)
        rejected += negative
    return _split(labels, rejected, split, notes)


def most_frequent(numbers: npt.NDArray[np.int64]) -> int:
    """Return the number above 0 that is there most often, the smallest of several; 0 when there is none."""
    values, counts = np.unique(numbers[numbers > 0], return_counts=True)  # np.bincount has a place for each below
    return int(values[counts.argmax()]) if len(values) else 0


def _whole_numbers(values: npt.NDArray[Any], notes: list[str]) -> tuple[npt.NDArray[np.int64], list[LabelCell]]:
    if values.dtype.kind in "bui":
        too_large = values > _LARGEST if values.dtype.itemsize == 8 else np.zeros(values.shape, bool)
        rejected = [LabelCell(0, None, "its value is above 2**53")] if too_large.any() else []
        return np.where(too_large, 0, values).astype(np.int64), rejected
    if not np.isfinite(values).all():
        notes.append("values that are not numbers (NaN or infinite) are background")
        values = np.where(np.isfinite(values), values, 0)
    whole = np.rint(values)
    wrong = (whole != values) | (np.abs(values) > _LARGEST)
    rejected = []
    if wrong.any():
        found = np.unique(values[wrong])
        if len(found) > 10_000:  # a probability map or an image, not labels
            return np.zeros(values.shape, np.int64), [LabelCell(0, None, "its values are fractions, not labels")]
        rejected = [LabelCell(0, None, f"its value {value:g} is not a whole number") for value in found.tolist()]
    return np.where(wrong, 0, whole).astype(np.int64), rejected


def _without_negative(labels: npt.NDArray[np.int64], notes: list[str]) -> tuple[npt.NDArray[np.int64], list[LabelCell]]:
    if (labels == -1).any():
        notes.append("the value -1 is background")
    found = np.unique(labels[labels < -1]).tolist()
    rejected = [LabelCell(0, None, f"its value {value} is below 0") for value in found]
    return np.where(labels < 0, 0, labels), rejected


def _numbered(colours: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return 1, 2, ... for the colours (H, W, 3) in order, 0 for black."""
    whole = colours.astype(np.int64)
    packed = (whole[..., 0] << 32) | (whole[..., 1] << 16) | whole[..., 2]
    values, numbers = np.unique(packed, return_inverse=True)
    labels: npt.NDArray[np.int64] = numbers.reshape(packed.shape) + (0 if values[0] == 0 else 1)
    return labels


def _of_colours(values: npt.NDArray[Any], colours: Mapping[tuple[int, int, int], str]) -> LabelCells:
    cells: list[LabelCell] = []
    unknown = values.any(2)
    for colour, name in colours.items():
        of_colour = (values == np.array(colour)).all(2)
        unknown &= ~of_colour
        if any(colour) and name:
            parts = ndimage.label(of_colour, TOUCHING)[0]
            cells += [LabelCell(len(cells) + n, cell, "", name) for n, (_, cell) in enumerate(label_cells(parts), 1)]
    if unknown.any():
        strange = np.unique(values[unknown].reshape(-1, 3), axis=0)
        shown = "#" + strange[0].astype(np.uint8).tobytes().hex()
        reason = f"its colour {shown} is not in the table of colours" + (
            f", like {len(strange) - 1} others" if len(strange) > 1 else ""
        )
        parts = ndimage.label(unknown, TOUCHING)[1]
        cells += [LabelCell(len(cells) + n, None, reason) for n in range(1, parts + 1)]
    return LabelCells(tuple(cells), ("the connected parts of each colour are cells",))


def _split(labels: npt.NDArray[np.int64], rejected: list[LabelCell], split: str, notes: list[str]) -> LabelCells:
    values, regions = looks_like_classes(labels)
    if not values:
        return LabelCells((*(LabelCell(value, cell) for value, cell in label_cells(labels)), *rejected), tuple(notes))
    kind = "a binary mask" if values == 1 else "a map of classes"
    if split == "no":
        notes.append(split_advice(values, regions))
        return LabelCells((*(LabelCell(value, cell) for value, cell in label_cells(labels)), *rejected), tuple(notes))
    cells: list[LabelCell] = []
    for value in np.unique(labels[labels != 0]).tolist():
        parts = _parts(labels == value, split == "touching")
        name = f"class {value}" if values > 1 else ""
        cells += [LabelCell(len(cells) + n, cell, "", name) for n, (_, cell) in enumerate(label_cells(parts), 1)]
    notes.append(f"{kind} was split into {len(cells):,} cells")
    return LabelCells((*cells, *rejected), tuple(notes))


def _parts(mask: npt.NDArray[np.bool_], cut: bool) -> npt.NDArray[Any]:
    parts: npt.NDArray[Any] = ndimage.label(mask, TOUCHING)[0]
    if not cut:
        return parts
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    peaks = (depth == ndimage.maximum_filter(depth, 7)) & mask
    seeds = ndimage.label(peaks, TOUCHING)[0]
    cut_parts: npt.NDArray[Any] = watershed(-depth, seeds, mask=mask)
    missed = mask & (cut_parts == 0)
    return np.where(missed, ndimage.label(missed, TOUCHING)[0] + cut_parts.max(), cut_parts)

"""Checks whether a model suits an image: its appearance and its cell size compared with the training images.

It also picks the bundled model for users who chose none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_cellseg.errors import ConfigError
from napari_cellseg.images.statistics import PictureFacts
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.model.bundled import FOR_ANY_STAIN, USUAL, bundled
from napari_cellseg.model.checkpoint import CheckpointHeader, read_header
from napari_cellseg.model.inference.tiles import is_plausible

__all__ = ["PickedModel", "check_pixel_size", "pick_model", "scale_hint", "unlike_training"]

_FEWEST_CELLS = 20  # a few cells are not enough: epithelium and lymphocytes differ twofold in size
_SMALL, _LARGE = 0.8, 1.4
_TRAINED_SIDES = {FOR_ANY_STAIN: (7.0, 58.0)}
"""Cell sides, px at the model's own scale, of a bundled model that was trained on many: the median says little then."""
_BIAS = 1.5
"""The model prefers cells of its training size: predicted sizes follow the 2/3 power of the scale (0.5 to 2)."""
_SCALES = np.array([0.25, 0.33, 0.5, 0.67, 1, 1.5, 2, 3, 4, 6, 8])


@dataclass(frozen=True)
class PickedModel:
    """A bundled model and why it was picked.

    Attributes
    ----------
    path : Path
        Its file.
    reason : str
        How the image differs from the training images of the usual model, as a clause that follows the name of the
        image; empty for the usual model.
    """

    path: Path
    reason: str = ""

    @property
    def name(self) -> str:
        """Its name in the library."""
        return self.path.stem


def pick_model(facts: PictureFacts) -> PickedModel:
    """Return the bundled model that suits an image, for a user who chose none.

    The model for any stain is picked for an image that differs from all H&E images of the usual one.

    Raises
    ------
    CheckpointError
        The installation lacks a model, or its file is damaged.
    """
    usual = bundled()
    trained = read_header(usual).statistics
    difference = None if trained is None else trained.difference(facts)
    if difference is None:
        return PickedModel(usual)
    return PickedModel(bundled(FOR_ANY_STAIN), f"it is unlike the training images of {USUAL}: {difference}")


def unlike_training(
    facts: PictureFacts, header: CheckpointHeader, others: Iterable[tuple[str, CheckpointHeader]]
) -> str | None:
    """Return a warning if an image differs from all training images of a model, as a clause that follows the file name.

    Parameters
    ----------
    facts : PictureFacts
        Statistics of the image as the network gets it.
    header : CheckpointHeader
        Header of the model; without statistics there is no warning.
    others : iterable of (name, CheckpointHeader)
        The models of the library; iterated only if needed.
    """
    trained = header.statistics
    difference = None if trained is None else trained.difference(facts)
    if trained is None or difference is None:
        return None
    better = [
        name
        for name, other in others
        if other.statistics is not None and other.sha256 != header.sha256 and other.statistics.difference(facts) is None
    ]
    advice = (
        f"the model {better[0]!r} was trained on images like it" if better else "expect wrong cells, and review them"
    )
    kind = "image" if trained.images == 1 else "images"
    return f"it is unlike the {trained.images} {kind} that the model was trained on: {difference}; {advice}"


def check_pixel_size(given_um: float, scale: float | None, model_um: float | None, name: str) -> None:
    """Refuse a pixel size that would have no effect.

    Parameters
    ----------
    given_um : float
        The user's pixel size.
    scale : float or None
        The user's scale.
    model_um : float or None
        Pixel size of the model's training.
    name : str
        Name of the model.

    Raises
    ------
    ConfigError
        A scale is given as well, the model has no pixel size, or the two differ too much.
    """
    if scale is not None:
        raise ConfigError(
            f"Both a scale ({scale:g}) and a pixel size ({given_um:g} um) were given; only the scale is used. "
            "Leave one of them out."
        )
    if model_um is None:
        raise ConfigError(
            f"The pixel size has no effect: the model {name} does not state the pixel size it was trained at. "
            "Give a scale instead."
        )
    if not is_plausible(given_um, model_um):
        raise ConfigError(
            f"A pixel size of {given_um:g} um is too far from the {model_um:g} um of the model {name}. "
            "Give a scale to force it."
        )


def scale_hint(cells: InstanceMasks, header: CheckpointHeader, scale: float) -> float | None:
    """Return a better scale for an image of unknown pixel size, from its cell sizes; None if this scale is good enough.

    Parameters
    ----------
    cells : InstanceMasks
        The predicted cells; only cells above the model's thresholds count.
    header : CheckpointHeader
    scale : float
        The scale of the prediction, network px per image px.
    """
    trained = header.statistics
    if trained is None or trained.cell_side_px is None:
        return None
    limits = np.array([0.0, *(header.thresholds or [0.5] * len(header.classes))], np.float32)
    boxes = cells.boxes[cells.scores >= limits[cells.class_ids]].astype(np.float64)
    if len(boxes) < _FEWEST_CELLS:
        return None
    found = float(np.median(np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))) * scale
    low, high = _TRAINED_SIDES.get(header.name, (np.inf, 0.0))
    if low <= found / header.config.working_scale <= high:
        return None
    ratio = found / (trained.cell_side_px * header.config.working_scale)
    if _SMALL < ratio < _LARGE:
        return None
    better = float(_SCALES[np.argmin(np.abs(np.log(_SCALES * ratio**_BIAS / scale)))])
    return None if abs(better / scale - 1) < 0.2 else better

"""Training settings that fit a data set and a computer, for users who do not want to choose them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.presets import preset_of
from training.config import TrainConfig
from training.report import DataReport

__all__ = ["anchor_factor", "continue_from", "suggest", "working_scale_of"]

CELL_SIDE_PX = 32
"""Target side of the median cell in the network, px: eight features of the finest pyramid level."""
_SCALES = np.array([0.25, 0.375, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3, 4])
_GREY_BELOW = 4.0  # chroma of grey images with compression noise
_STEPS = 10_000
_STEPS_AN_EPOCH = 50
_LEAST_EPOCHS, _MOST_EPOCHS = 20, 150
_EPOCHS_PER_IMAGE = 8
"""With few images the model knows them well long before 150 epochs: 8 images get 64, 19 and more get 150."""


def suggest(report: DataReport, preset: str = "lite", *, ram_mib: int | None = None) -> TrainConfig:
    """Fit a preset to a data set.

    - cell size: working scale and anchor sizes (not for ``original``, a published recipe);
    - number and size of images: split, views of each image, epochs, which metric stops the run;
    - memory: crop, batch, RAM budget;
    - colour: no stain and hue jitter for grey images.

    Parameters
    ----------
    report : DataReport
        Without errors.
    preset : str
        Of `PRESETS`.
    ram_mib : int, optional
        Free memory, MiB; measured when left out.
    """
    config = TrainConfig.preset(preset, report.classes)
    ram = ram_mib if ram_mib is not None else psutil.virtual_memory().available // 2**20
    changes: dict[str, Any] = {**_of_images(report), "data__ram_budget_mib": int(np.clip(ram // 8, 128, 2048))}
    if not preset_of(preset).fits_data:
        return config.with_changes(**changes)
    changes |= _of_cells(config, report) | _of_colour(report)
    if ram < 6 * 1024:
        changes |= {"augment__crop": 384, "optimizer__batch": 1}
    return _with_schedule(config.with_changes(**changes), report)


def continue_from(config: TrainConfig, header: CheckpointHeader) -> TrainConfig:
    """Return the settings with the network of the model that training starts from.

    Its weights fit its own anchors and layers only. Classes and scale fit the data: cells get the size it learned.
    """
    network = header.config.with_changes(
        classes=config.model.classes,
        working_scale=config.model.working_scale,
        pixel_size_um=config.model.pixel_size_um,
        reading=config.model.reading,
        box_head__class_weights=None,
    )
    return config.with_changes(model=network)


def working_scale_of(sides: npt.NDArray[np.float32]) -> float:
    """Return, from a short list, the network px per image px that brings the median cell closest to `CELL_SIDE_PX`."""
    if not len(sides):
        return 1.0
    wanted = CELL_SIDE_PX / float(np.median(sides))
    return float(_SCALES[np.argmin(np.abs(np.log(_SCALES / wanted)))])


def anchor_factor(sides: npt.NDArray[np.float32], anchors: Sequence[float]) -> float:
    """Return the factor by which the anchor sides fit the cells best; 1 when no other is clearly better.

    The fit is the mean over all cells of the IoU of a square of the cell's size and the best anchor. Factors stay near
    1, because later images may have smaller or larger cells.
    """
    factors = np.array([1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25])
    scaled = np.asarray(anchors) * factors[:, None]
    some = sides[:: max(1, len(sides) // 10_000)]
    ratio = np.abs(np.log(np.maximum(some, 1)[None, :, None] / scaled[:, None, :])).min(2)
    fit = np.exp(-2 * ratio).mean(1)
    best = int(fit.argmax())
    return float(factors[best]) if fit[best] > fit[0] + 0.02 else 1.0


def _of_cells(config: TrainConfig, report: DataReport) -> dict[str, Any]:
    scale = working_scale_of(report.sides)
    levels = config.model.rpn.anchor_sizes
    factor = anchor_factor(report.sides * scale, [side for level in levels for side in level])
    anchors = tuple(tuple(round(side * factor, 1) for side in level) for level in levels)
    pixel_sizes = [image.pixel_size_um for image in report.images if image.pixel_size_um]
    return {
        "model__working_scale": scale,
        "model__rpn__anchor_sizes": anchors,
        # A pixel size that half of the files lack or contradict would rescale images wrongly.
        "model__pixel_size_um": float(np.median(pixel_sizes)) if _agree(pixel_sizes, len(report.images)) else None,
    }


def _agree(pixel_sizes: list[float], images: int) -> bool:
    return len(pixel_sizes) == images and max(pixel_sizes) < 1.1 * min(pixel_sizes)


def _of_colour(report: DataReport) -> dict[str, Any]:
    grey = np.percentile([image.picture.chroma for image in report.images], 95) < _GREY_BELOW
    return {"augment__stain": 0.0, "augment__hue_saturation_value": 0.0} if grey else {}


def _of_images(report: DataReport) -> dict[str, Any]:
    count = len(report.images)
    if count < 2:
        return {"data__validation_fraction": 0.0, "stopping__monitor": "train_loss"}
    # A fifth, but 1 to 40 images: with more, a validation would take longer than its epoch.
    held = np.clip(round(0.2 * count), 1, 40)
    return {"data__validation_fraction": round(float(held / count), 4)}


def _with_schedule(config: TrainConfig, report: DataReport) -> TrainConfig:
    """Cover every image at least about once per epoch, and train for a similar number of steps on all data sets."""
    crop = config.augment.crop
    images = max(1, round(len(report.images) * (1 - config.data.validation_fraction)))
    areas = [image.size[0] * image.size[1] * config.model.working_scale**2 for image in report.images]
    once = round(float(np.median(areas)) / crop**2) if crop else 1
    a_step = config.optimizer.batch * config.optimizer.accumulate
    enough = -(-_STEPS_AN_EPOCH * a_step // images)
    views = int(np.clip(max(once, enough), 1, 200))
    steps = max(1, images * views // a_step)
    most = min(_MOST_EPOCHS, max(_LEAST_EPOCHS, _EPOCHS_PER_IMAGE * len(report.images)))
    return config.with_changes(data__views=views, epochs=int(np.clip(_STEPS // steps, _LEAST_EPOCHS, most)))

"""`ImageRun`: predicts one image after another as events; an image that fails becomes an event too."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from napari_cellseg import __version__
from napari_cellseg.errors import CellSegError, ImageReadError
from napari_cellseg.events import ImageDone, ImageFailed, Message, PredictEvent, ScaleHint, ScaleUsed
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.read import ReadOptions
from napari_cellseg.images.slide import Slide, is_slide, open_slide
from napari_cellseg.images.stamp import image_stamp
from napari_cellseg.images.statistics import picture_facts
from napari_cellseg.memory import return_free_memory
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.device import Device
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.inference.slide_run import PredictTiles, predict_slide
from napari_cellseg.model.inference.tile_batches import TileBatch, TileJob, predicted_batches
from napari_cellseg.model.inference.tile_plan import TilePlan
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.model.suitability import scale_hint, unlike_training

__all__ = ["ImageRun", "TileWorkers"]


class TileWorkers(Protocol):
    """Other processes that predict the tiles of slides."""

    def tiles(self, slide: Slide, job: TileJob) -> Generator[TileBatch, None, None]:
        """Yield the batches of a job in their order."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageRun:
    """What is the same for all images of a prediction.

    Attributes
    ----------
    header : CheckpointHeader
    plan : TilePlan
        The predictor, if the work is done in this process.
    device : Device
    precision : str
    workers : TileWorkers, optional
        Processes that do the work.
    """

    header: CheckpointHeader
    plan: TilePlan
    device: Device
    precision: str
    workers: TileWorkers | None = None

    @classmethod
    def here(cls, predictor: Predictor, header: CheckpointHeader) -> ImageRun:
        """Return a run in this process."""
        return cls(header=header, plan=predictor, device=predictor.device, precision=predictor.precision)

    def events(self, item: PredictItem, place: tuple[int, int]) -> Generator[PredictEvent, None, None]:
        """Predict an image, number ``place[0]`` of ``place[1]``; the last event is its result, or the failure."""
        start = time.perf_counter()
        slide = None
        try:
            with _picture(item, self.header.config.reading) as (rgb, pixel_size_um, warnings):
                factor, scale = self.plan.scale(pixel_size_um)
                small = rgb.overview.rgb() if isinstance(rgb, Slide) else rgb
                if unlike := unlike_training(picture_facts(small), self.header, _others()):
                    warnings.append(unlike)
                for warning in warnings:
                    yield Message("warning", f"{item.image_id}: {warning}")
                yield ScaleUsed("info", f"{item.image_id}: scale {scale}", scale)
                if item.slide is not None and isinstance(rgb, Slide):
                    made_from = self._made_from(item, rgb, pixel_size_um)
                    slide, found = yield from predict_slide(
                        self.plan,
                        rgb,
                        item.slide,
                        self._tiles_of(rgb),
                        made_from,
                        pixel_size_um,
                        place=place,
                        image_id=item.image_id,
                        about=_about(self.header),
                    )
                else:
                    found = yield from self._predictor.image(rgb, pixel_size_um, place=place, centre=item.centre)
            if pixel_size_um is None and self.plan.options.scale is None:
                better = scale_hint(found, self.header, factor)
                if better:
                    text = f"{item.image_id}: {_better_scale(better, factor, self.header)}"
                    yield ScaleHint("warning", text, better)
        except (CellSegError, MemoryError, torch.OutOfMemoryError) as error:
            yield ImageFailed(*place, item.image_id, self._in_words(error))
            return
        return_free_memory()
        seconds = time.perf_counter() - start
        if slide is not None:
            yield replace(slide, seconds=seconds)
            return
        yield ImageDone(image=place[0], images=place[1], image_id=item.image_id, instances=found, seconds=seconds)

    @property
    def _predictor(self) -> Predictor:
        assert isinstance(self.plan, Predictor)  # `predict` gives whole images to the workers itself
        return self.plan

    def _tiles_of(self, slide: Slide) -> PredictTiles:
        if self.workers is not None:
            return partial(self.workers.tiles, slide)
        return partial(predicted_batches, self._predictor, slide)

    def _made_from(self, item: PredictItem, slide: Slide, pixel_size_um: float | None) -> dict[str, Any]:
        """Return all that the cells of a slide depend on, as JSON values: only then a run is resumed."""
        assert item.slide is not None  # the caller looks
        values = {
            "image": image_stamp(slide.overview.path),
            "model": self.header.sha256,
            "image options": slide.overview.options.model_dump(mode="json"),
            "prediction options": self.plan.options.model_dump(mode="json", exclude={"checkpoint", "device"}),
            "device": [self.device.kind, self.precision],
            "pixel size": pixel_size_um,
            "tissue filter": item.slide.skips_glass,
            "region": item.slide.region,
            "version of napari-cellseg": __version__,
        }
        found: dict[str, Any] = json.loads(json.dumps(values))
        return found

    def _in_words(self, error: Exception) -> str:
        if isinstance(error, CellSegError):
            return str(error)
        place = "memory" if self.device.kind == "cpu" else f"memory of {self.device.name}"
        return (
            f"The {place} is too small for {self.plan.options.batch} tiles of {self.plan.options.tile} px per batch;"
            " choose smaller tiles or fewer per batch, or close other programs."
        )


def _about(header: CheckpointHeader) -> dict[str, Any]:
    """Return what a file of cells states of their model: its classes, and from which scores on it trusts a cell."""
    return {
        "classes": header.classes.to_json(),
        "model": {"name": header.name, "min_scores": header.thresholds and list(header.thresholds)},
    }


@contextmanager
def _picture(
    item: PredictItem, reading: ReadOptions
) -> Iterator[tuple[npt.NDArray[np.uint8] | Slide, float | None, list[str]]]:
    """Return the picture, its pixel size and warnings; a level that does not fit into memory is read by regions."""
    chosen = item.reading.over(reading) if item.reading else reading
    if not isinstance(item.source, Path) or not (item.slide or is_slide(item.source, chosen)):
        yield _pixels(item, chosen)
        return
    with open_slide(item.source, chosen) as slide:
        yield slide, item.pixel_size_um or slide.pixel_size_um, slide.overview.warnings()


def _pixels(item: PredictItem, reading: ReadOptions) -> tuple[npt.NDArray[np.uint8], float | None, list[str]]:
    """Return rgb, pixel size and warnings."""
    if isinstance(item.source, np.ndarray):
        rgb = item.source
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise ImageReadError(
                f"The image {item.image_id} has shape {rgb.shape} and type {rgb.dtype}; a colour image of shape"
                " (height, width, 3) and type uint8 is needed."
            )
        return rgb, item.pixel_size_um, []
    image = read_image(item.source, options=reading)
    return image.rgb(), item.pixel_size_um or image.pixel_size_um, image.warnings()


def _others() -> Iterator[tuple[str, CheckpointHeader]]:
    """Return the usable models of the library."""
    for entry in ModelLibrary().entries():
        if entry.header is not None:
            yield entry.name, entry.header


def _better_scale(better: float, factor: float, header: CheckpointHeader) -> str:
    size, scale = header.config.pixel_size_um, header.config.working_scale
    um = f" (a pixel size of {size * better / scale:.2g} um)" if size is not None else ""
    kind = "small" if better > factor else "large"
    return (
        f"its cells are {kind} for the model at scale {factor:g}, and its pixel size is not known; "
        f"try scale {better:g}{um}"
    )

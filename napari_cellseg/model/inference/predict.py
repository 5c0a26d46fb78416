"""Predicts many images: a generator of events that loads the model, skips bad images and stops when closed."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from napari_cellseg.events import (
    ImageDone,
    ImageFailed,
    ModelReady,
    PredictEvent,
    PredictSummary,
    ScaleUsed,
    SlideDone,
)
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import CheckpointHeader, read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, choose_device, choose_precision
from napari_cellseg.model.inference.image_run import ImageRun, TileWorkers
from napari_cellseg.model.inference.model_cache import ModelCache
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.inference.tile_plan import TilePlan
from napari_cellseg.model.suitability import check_pixel_size

__all__ = ["ModelCache", "PredictItem", "Predictor", "Workers", "predict"]


class Workers(TileWorkers, Protocol):
    """Other processes that predict; see `Cluster`."""

    def start(
        self, items: Sequence[PredictItem], options: PredictOptions, path: Path, header: CheckpointHeader
    ) -> tuple[Device, str]:
        """Prepare for a prediction with the model of a file; return the device and the precision of the workers."""
        ...

    def image(self, number: int) -> Generator[PredictEvent, None, None]:
        """Yield the events of an image that is predicted as a whole, number 1..N."""
        ...


def predict(
    items: Sequence[PredictItem],
    options: PredictOptions,
    *,
    cache: ModelCache | None = None,
    workers: Workers | None = None,
) -> Generator[PredictEvent, None, PredictSummary]:
    """Predict the cells of each image.

    Parameters
    ----------
    items : sequence of PredictItem
        The images; one that cannot be read or does not fit into memory becomes an `ImageFailed`, and the run continues.
    options : PredictOptions
        Model, device, tiles, ...
    cache : ModelCache, optional
        Keeps the model for the next call.
    workers : Workers, optional
        Other processes that predict, for example of a `Cluster`; this one joins the seams of slides.

    Yields
    ------
    ModelReady, then for each image TileDone (one or more) and ImageDone or ImageFailed, and Message in between; for an
    item with a ``slide`` SlideTileDone and SlideDone

    Returns
    -------
    PredictSummary

    Raises
    ------
    CheckpointError
        The model cannot be loaded.
    ConfigError
        The device or precision is not available.
    EngineError
        The workers are lost, or their program differs.
    """
    begin = time.perf_counter()
    path = options.checkpoint or bundled()
    if workers is None:
        device = choose_device(options.device)
        choose_precision(device, options.precision, options.runtime)  # before the model is loaded
        model, header = (cache or ModelCache()).get(path, device, options.runtime)
        run = ImageRun.here(Predictor(model, header, device, options), header)
    else:
        header = read_header(path)
        device, precision = workers.start(items, options, path, header)
        plan = TilePlan(header.config, options)
        run = ImageRun(header=header, plan=plan, device=device, precision=precision, workers=workers)
    name = header.name or path.stem
    _check_pixel_sizes(items, options, header, name)
    yield ModelReady(
        model_name=name,
        class_names=header.classes.names,
        device=run.device.name,
        reason=f"{run.device.reason}, {run.precision}" + (", OpenVINO" if options.runtime == "openvino" else ""),
        seconds=time.perf_counter() - begin,
    )
    failed = cells = 0
    scale_told = ""
    for number, item in enumerate(items, 1):
        place = number, len(items)
        chosen = run.events(item, place) if workers is None or item.slide else workers.image(number)
        with closing(chosen) as events:
            for event in events:
                if isinstance(event, ScaleUsed):
                    if event.scale == scale_told:
                        continue
                    scale_told = event.scale
                failed += isinstance(event, ImageFailed)
                cells += len(event.instances) if isinstance(event, ImageDone) else 0
                cells += event.cells if isinstance(event, SlideDone) else 0
                yield event
    return PredictSummary(len(items), failed, cells, time.perf_counter() - begin)


def _check_pixel_sizes(
    items: Sequence[PredictItem], options: PredictOptions, header: CheckpointHeader, name: str
) -> None:
    """Refuse a pixel size that would have no effect."""
    given = next((item.pixel_size_um for item in items if item.pixel_size_um is not None), None)
    if given is None or not any(isinstance(item.source, Path) for item in items):
        return  # for pixels from the window, the size may be the file's own
    check_pixel_size(given, options.scale, header.config.pixel_size_um, name)

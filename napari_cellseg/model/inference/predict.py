"""Predicts many images: a generator of events that loads the model, skips bad images and stops when closed."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from napari_cellseg import __version__
from napari_cellseg.errors import CellSegError, ImageReadError
from napari_cellseg.events import (
    ImageDone,
    ImageFailed,
    Message,
    ModelReady,
    PredictEvent,
    PredictSummary,
    ScaleHint,
)
from napari_cellseg.images.formats import read_image
from napari_cellseg.images.read import ReadOptions
from napari_cellseg.images.slide import Slide, is_slide, open_slide
from napari_cellseg.images.statistics import picture_facts
from napari_cellseg.memory import return_free_memory
from napari_cellseg.model.bundled import bundled
from napari_cellseg.model.checkpoint import CheckpointHeader, load_checkpoint, read_header
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, choose_device
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.inference.slide_run import image_stamp, predict_slide
from napari_cellseg.model.library import ModelLibrary
from napari_cellseg.model.network.folding import fold_norms
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from napari_cellseg.model.network.pointwise import same_on_any_threads
from napari_cellseg.model.suitability import check_pixel_size, scale_hint, unlike_training

__all__ = ["ModelCache", "PredictItem", "Predictor", "predict", "share_of_rank"]

Item = TypeVar("Item")


class ModelCache:
    """Keeps the last model in memory for the next prediction; owned by code that runs several predictions."""

    def __init__(self) -> None:
        self._key: tuple[Path, int, str, str] | None = None
        self._loaded: tuple[CellMaskRCNN, CheckpointHeader] | None = None

    def get(self, path: Path, device: Device) -> tuple[CellMaskRCNN, CheckpointHeader]:
        """Return the model of a file on a device, loaded again only if the path, contents or device changed.

        Raises
        ------
        CheckpointError
            The file is missing, damaged or of another program.
        """
        header = read_header(path)
        key = (path.resolve(), path.stat().st_mtime_ns, header.sha256, device.name)
        if self._loaded is None or key != self._key:
            self.clear()  # first, so that two models are never in memory together
            model, header = load_checkpoint(path, device.name)
            fold_norms(model)
            if device.kind == "cpu":
                same_on_any_threads(model)
            self._key, self._loaded = key, (model, header)
        return self._loaded

    def clear(self) -> None:
        """Let the model go."""
        self._key = self._loaded = None


def predict(
    items: Sequence[PredictItem], options: PredictOptions, *, cache: ModelCache | None = None
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
    """
    begin = time.perf_counter()
    device = choose_device(options.device)
    path = options.checkpoint or bundled()
    model, header = (cache or ModelCache()).get(path, device)
    predictor = Predictor(model, header, device, options)
    name = header.name or path.stem
    _check_pixel_sizes(items, options, header, name)
    yield ModelReady(
        model_name=name,
        class_names=header.classes.names,
        device=device.name,
        reason=f"{device.reason}, {predictor.precision}",
        seconds=time.perf_counter() - begin,
    )
    failed = cells = 0
    scale_told = ""
    for number, item in enumerate(items, 1):
        start = time.perf_counter()
        try:
            with _picture(item, header.config.reading) as (rgb, pixel_size_um, warnings):
                factor, scale = predictor.scale(pixel_size_um)
                small = rgb.overview.rgb() if isinstance(rgb, Slide) else rgb
                if unlike := unlike_training(picture_facts(small), header, _others()):
                    warnings.append(unlike)
                for warning in warnings:
                    yield Message("warning", f"{item.image_id}: {warning}")
                if scale != scale_told:
                    yield Message("info", f"{item.image_id}: scale {scale}")
                    scale_told = scale
                place, slide = (number, len(items)), None
                if item.slide is not None and isinstance(rgb, Slide):
                    made_from = _made_from(item, rgb, predictor, header, pixel_size_um)
                    slide, found = yield from predict_slide(
                        predictor, rgb, item.slide, made_from, pixel_size_um, place=place, image_id=item.image_id
                    )
                else:
                    found = yield from predictor.image(rgb, pixel_size_um, place=place, centre=item.centre)
            if pixel_size_um is None and options.scale is None and (better := scale_hint(found, header, factor)):
                text = f"{item.image_id}: {_better_scale(better, factor, header)}"
                yield ScaleHint("warning", text, better)
        except (CellSegError, MemoryError, torch.OutOfMemoryError) as error:
            failed += 1
            yield ImageFailed(number, len(items), item.image_id, _in_words(error, options, device))
            continue
        return_free_memory()
        seconds = time.perf_counter() - start
        if slide is not None:
            cells += slide.cells
            yield replace(slide, seconds=seconds)
            continue
        cells += len(found)
        yield ImageDone(image=number, images=len(items), image_id=item.image_id, instances=found, seconds=seconds)
    return PredictSummary(len(items), failed, cells, time.perf_counter() - begin)


def _check_pixel_sizes(
    items: Sequence[PredictItem], options: PredictOptions, header: CheckpointHeader, name: str
) -> None:
    """Refuse a pixel size that would have no effect."""
    given = next((item.pixel_size_um for item in items if item.pixel_size_um is not None), None)
    if given is None or not any(isinstance(item.source, Path) for item in items):
        return  # for pixels from the window, the size may be the file's own
    check_pixel_size(given, options.scale, header.config.pixel_size_um, name)


def share_of_rank(items: Sequence[Item], rank: int, ranks: int) -> list[Item]:
    """Return the items that one of several processes predicts: every ``ranks``-th, so that the shares are equal.

    The results are sorted into the order of ``items`` by image id. Each image is predicted separately, so its result
    does not depend on the process.
    """
    if not 0 <= rank < ranks:
        raise ValueError(f"rank {rank} of {ranks}")
    return list(items[rank::ranks])


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


def _made_from(
    item: PredictItem, slide: Slide, predictor: Predictor, header: CheckpointHeader, pixel_size_um: float | None
) -> dict[str, Any]:
    """Return all that the cells of a slide depend on, as JSON values: only then a run is resumed."""
    assert item.slide is not None  # the caller looks
    values = {
        "image": image_stamp(slide.overview.path),
        "model": header.sha256,
        "image options": slide.overview.options.model_dump(mode="json"),
        "prediction options": predictor.options.model_dump(mode="json", exclude={"checkpoint", "device"}),
        "device": [predictor.device.kind, predictor.precision],
        "pixel size": pixel_size_um,
        "tissue filter": item.slide.skips_glass,
        "region": item.slide.region,
        "version of napari-cellseg": __version__,
    }
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found


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


def _in_words(error: Exception, options: PredictOptions, device: Device) -> str:
    if isinstance(error, CellSegError):
        return str(error)
    place = "memory" if device.kind == "cpu" else f"memory of {device.name}"
    return (
        f"The {place} is too small for {options.batch} tiles of {options.tile} px per batch;"
        " choose smaller tiles or fewer per batch, or close other programs."
    )

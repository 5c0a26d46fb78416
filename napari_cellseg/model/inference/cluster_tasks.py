"""The tasks that `Cluster` sends to Dask workers. Each keeps one model and one open slide, and does one task at a time.

A task returns a `Refusal` where another attempt would end alike, so that Dask repeats only what a dying worker had.
"""

from __future__ import annotations

import platform
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from napari_cellseg import __file__ as package_file
from napari_cellseg import __version__
from napari_cellseg.errors import CellSegError, CheckpointError, EngineError, ImageReadError
from napari_cellseg.events import PredictEvent, Progress
from napari_cellseg.images.options import ReadOptions
from napari_cellseg.images.slide import Slide, open_slide
from napari_cellseg.images.stamp import image_stamp
from napari_cellseg.memory import bound_shape_caches
from napari_cellseg.model.checkpoint import CheckpointHeader
from napari_cellseg.model.config import PredictOptions
from napari_cellseg.model.device import Device, choose_device
from napari_cellseg.model.inference.image_run import ImageRun
from napari_cellseg.model.inference.model_cache import ModelCache
from napari_cellseg.model.inference.predict_item import PredictItem
from napari_cellseg.model.inference.predictor import Predictor
from napari_cellseg.model.inference.tile_batches import TileBatch, TileJob, predicted_batches

__all__ = [
    "ImageOnDisk",
    "ModelOnDisk",
    "Refusal",
    "WorkerFacts",
    "predict_image",
    "predict_tiles",
    "release",
    "survey",
    "versions",
]

_PACKAGE = Path(package_file).parent
_COMPARED = ("numpy", "torch", "torchvision")
"""Packages that decide the last bits of a result."""


def versions() -> dict[str, str]:
    """Return the versions that all processes of a prediction must share."""
    found = {"napari-cellseg": __version__}
    for name in _COMPARED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


@dataclass(frozen=True)
class Refusal:
    """Why a task failed: ``error`` is raised by the process that asked for it."""

    error: Exception


@dataclass(frozen=True)
class ModelOnDisk:
    """The model of a prediction, and what a worker must have in common with the process that asks.

    Attributes
    ----------
    path : str
        Path of the model file; within the package if ``in_package``, which may be installed elsewhere on a worker.
    sha256 : str
        Hash of its weights, from the header.
    options : PredictOptions
    versions : tuple of (str, str)
        From `versions`.
    threads : int or None
        Number of CPU threads of a worker; None for as many as Dask gives a worker.
    spread : bool
        Whether workers of one machine with several GPUs take one each, by the number that is their name.
    """

    path: str
    in_package: bool
    sha256: str
    options: PredictOptions
    versions: tuple[tuple[str, str], ...]
    threads: int | None = None
    spread: bool = False

    @classmethod
    def of(cls, path: Path, header: CheckpointHeader, options: PredictOptions, **more: Any) -> ModelOnDisk:
        """Describe a model file of this process."""
        full = path.absolute()
        in_package = full.is_relative_to(_PACKAGE)
        name = full.relative_to(_PACKAGE) if in_package else full
        return cls(str(name), in_package, header.sha256, options, tuple(versions().items()), **more)

    def here(self) -> Path:
        """Return the path of the file on this machine."""
        return _PACKAGE / self.path if self.in_package else Path(self.path)


@dataclass(frozen=True)
class ImageOnDisk:
    """A slide that workers read by regions; ``stamp`` is that of the process that asks, see `image_stamp`."""

    path: Path
    options: ReadOptions
    stamp: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker computes with."""

    where: str
    device: Device
    precision: str
    hardware: str


class _Worker:
    """The state of a worker process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._cache = ModelCache()
        self._model: ModelOnDisk | None = None
        self._predictor: Predictor | None = None
        self._header: CheckpointHeader | None = None
        self._image: ImageOnDisk | None = None
        self._files = ExitStack()
        self._slide: Slide | None = None

    def predictor(self, model: ModelOnDisk) -> tuple[Predictor, CheckpointHeader]:
        if self._predictor is None or self._header is None or model != self._model:
            self._model = None
            self._predictor, self._header = self._loaded(model)
            self._model = model
        return self._predictor, self._header

    def _loaded(self, model: ModelOnDisk) -> tuple[Predictor, CheckpointHeader]:
        if different := [
            f"{name} {version}" for name, version in versions().items() if (name, version) not in model.versions
        ]:
            asked = ", ".join(f"{name} {version}" for name, version in model.versions)
            raise EngineError(
                f"{_where()} has {', '.join(different)}, and this computer {asked}. Install the same versions"
                " everywhere: others round differently."
            )
        torch.set_num_threads(model.threads or _own_threads())
        path = model.here()
        if not path.is_file():
            raise CheckpointError(
                f"{_where()} does not see the model {path}. Put it on storage that all machines mount under the"
                " same path."
            )
        device = choose_device(_device_name(model))
        network, header = self._cache.get(path, device, model.options.runtime)
        if header.sha256 != model.sha256:
            raise CheckpointError(
                f"{_where()} has another model under {path} than this computer. Copy the same file to both."
            )
        return Predictor(network, header, device, model.options), header

    def slide(self, image: ImageOnDisk) -> Slide:
        if self._slide is None or image != self._image:
            self.close()
            check_image(image.path, image.stamp)
            self._slide = self._files.enter_context(open_slide(image.path, image.options))
            self._image = image
        return self._slide

    def close(self) -> None:
        self._slide = self._image = None
        self._files.close()

    def clear(self) -> None:
        self.close()
        self._model = self._predictor = self._header = None
        self._cache.clear()


_WORKER = _Worker()


def _where() -> str:
    return f"The worker {_name()} on {socket.gethostname()}"


def _name() -> str:
    from distributed import get_worker

    return str(get_worker().address)


def _own_threads() -> int:
    from distributed import get_worker

    return max(1, int(get_worker().state.nthreads))


def _device_name(model: ModelOnDisk) -> str:
    """Return the device, for workers that share the GPUs of a machine the one of their number."""
    wanted = model.options.device
    if not model.spread or wanted not in ("auto", "cuda") or not torch.cuda.is_available():
        return wanted
    from distributed import get_worker

    name = str(get_worker().name)
    return f"cuda:{int(name) % torch.cuda.device_count()}" if name.isdecimal() else wanted


def check_image(path: Path, stamp: tuple[tuple[str, Any], ...]) -> None:
    """Raise an `ImageReadError` unless this machine has the file, and the same one under the same path."""
    if not path.exists():
        raise ImageReadError(
            f"{_where()} does not see {path}. Workers read the images: put them on storage that all machines mount"
            " under the same path."
        )
    if stamp and dict(stamp) != image_stamp(path):
        raise ImageReadError(
            f"{_where()} sees another file under {path} than this computer ({dict(image_stamp(path))['bytes']:,} bytes"
            f" instead of {dict(stamp)['bytes']:,}). Put the images on storage that all machines mount under one path."
        )


def survey(model: ModelOnDisk) -> WorkerFacts | Refusal:
    """Load the model, and return what this worker computes with."""
    bound_shape_caches()
    with _WORKER.lock:
        try:
            predictor, _ = _WORKER.predictor(model)
        except (CellSegError, MemoryError, torch.OutOfMemoryError) as error:
            return _refused(error, model)
    device = predictor.device
    hardware = torch.cuda.get_device_name(device.name) if device.kind == "cuda" else _cpu()
    return WorkerFacts(_where(), device, predictor.precision, hardware)


def _refused(error: Exception, model: ModelOnDisk) -> Refusal:
    if isinstance(error, CellSegError):
        return Refusal(error)
    options = model.options
    text = (
        f"{_where()}: its memory is too small for {options.batch} tiles of {options.tile} px per batch. Choose smaller"
        " tiles (--tile), fewer per batch (--batch) or fewer workers per machine."
    )
    return Refusal(EngineError(text))


def _cpu() -> str:
    return f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"


def predict_tiles(model: ModelOnDisk, image: ImageOnDisk, job: TileJob) -> list[TileBatch] | Refusal:
    """Predict tiles of a slide; the cells are not joined."""
    with _WORKER.lock:
        try:
            predictor, _ = _WORKER.predictor(model)
            return list(predicted_batches(predictor, _WORKER.slide(image), job))
        except (CellSegError, MemoryError, torch.OutOfMemoryError) as error:
            return _refused(error, model)


def predict_image(
    model: ModelOnDisk, item: PredictItem, stamp: tuple[tuple[str, Any], ...], place: tuple[int, int]
) -> list[PredictEvent] | Refusal:
    """Predict an image as a whole; return its events without those of the progress."""
    with _WORKER.lock:
        try:
            predictor, header = _WORKER.predictor(model)
            if isinstance(item.source, Path):
                check_image(item.source, stamp)
            run = ImageRun.here(predictor, header)
            return [event for event in run.events(replace(item, centre=None), place) if not isinstance(event, Progress)]
        except (CellSegError, MemoryError, torch.OutOfMemoryError) as error:
            return _refused(error, model)


def release() -> None:
    """Release the model and the slide, if no task is running."""
    if _WORKER.lock.acquire(blocking=False):
        try:
            _WORKER.clear()
        finally:
            _WORKER.lock.release()

"""Everything a run needs before its first step: data, split, model, optimiser, loader, and the state to resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from napari_cellseg.errors import CheckpointError, ConfigError
from napari_cellseg.events import Message
from napari_cellseg.images.statistics import ImageStatistics
from napari_cellseg.model.bundled import start_file
from napari_cellseg.model.checkpoint import load_weights
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.device import Device
from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from napari_cellseg.model.network.norms import stored_norms
from training.augment import Augmentation, sample_seed
from training.chunks import ChunkedLoader
from training.config import TrainConfig
from training.dataset import Sample, TrainingImage, read_sample
from training.early_stopping import EarlyStopping
from training.ema import averaged
from training.report import DataReport, scan_steps
from training.resume import Progress, read_state, set_random_state
from training.run_folder import RunFolder
from training.schedule import build_optimizer
from training.split import Split, draw_split, read_groups
from training.step import Item, Stepper
from training.targets import targets_from_maps, validate_target

__all__ = ["Prepared", "prepare"]

View = Callable[[TrainingImage, int, int], Item]
"""From an image, the epoch and the repeat to a training crop."""

_CALIBRATION_IMAGES = 16
"""One crop of each gives a new pyramid the statistics of its norms; a trained one keeps its own."""
_MAY_CHANGE = ("epochs", "max_steps", "max_minutes", "device", "devices", "num_nodes", "stopping", "validation")


@dataclass(kw_only=True)
class Prepared:
    """The parts of a run. ``model`` is trained; ``evaluated`` is validated and saved."""

    config: TrainConfig
    fabric: Fabric
    device: Device
    model: Any
    evaluated: CellMaskRCNN
    averaged: AveragedModel | None
    optimizer: Any
    stepper: Stepper
    loader: ChunkedLoader[Sample, TrainingImage, Item]
    stopping: EarlyStopping
    progress: Progress
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    train_cells: int
    data_name: str
    statistics: ImageStatistics

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch."""
        size = self.config.optimizer.batch * self.config.optimizer.accumulate
        return -(-len(self.loader) // size)

    def state(self) -> dict[str, Any]:
        """Return all state that training changes, except the random generators."""
        return {
            "config": self.config.model_dump(mode="json"),
            "model": self.model.module.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "loader": self.loader.state_dict(),
            "stopping": self.stopping.state_dict(),
            "progress": asdict(self.progress),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.model.module.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.loader.load_state_dict(state["loader"])
        self.stopping.load_state_dict(state["stopping"])
        for name, value in state["progress"].items():
            setattr(self.progress, name, value)
        self.stepper.crop_limit = self.progress.crop_limit
        if self.progress.ended == "NO_IMPROVEMENT":
            self.stopping.waited = 0  # resuming a run that stopped early means trying again


def prepare(
    config: TrainConfig, data: Path, folder: RunFolder, fabric: Fabric, device: Device, *, resume: bool
) -> Generator[Message, None, Prepared]:
    """Check data and settings, and build or restore every part of a run; yield messages about the progress.

    Raises
    ------
    CellSegError
        The run cannot start; nothing is written then.
    """
    state = read_state(folder.last) if resume else None
    if state is not None:
        _check_settings(config, state.get("config"))
    report = yield from _checked(data, config)
    split = Split.load(folder.split) if state is not None else _new_split(report, config)
    train, validation = split.apply(report)
    if state is not None:
        folder.resume()
        folder.write(folder.config, config.to_yaml())
    elif folder.writes:
        folder.start(config)
        split.save(folder.split)
    torch.manual_seed(config.seed)
    network = first_network(config)
    view = _view(config, network.config)
    if state is None and any(not norm.calibrated for norm in stored_norms(network)):
        network.calibrate([view(read_sample(sample), 0, 0).rgb for sample in _some(train)])
    for norm in stored_norms(network):
        norm.is_fixed = config.optimizer.norm_statistics == "stored"
    model, optimizer = fabric.setup(network, build_optimizer(network, config.optimizer))
    decay = config.optimizer.ema_decay
    average = averaged(model.module, decay) if decay is not None else None
    evaluated = model.module if average is None else average.module
    assert isinstance(evaluated, CellMaskRCNN)  # torch's AveragedModel loses the type
    mode: Literal["max", "min"] = "max" if config.stopping.monitor == "ap50" else "min"
    prepared = Prepared(
        config=config,
        fabric=fabric,
        device=device,
        model=model,
        evaluated=evaluated,
        averaged=average,
        optimizer=optimizer,
        stepper=Stepper(fabric, model, optimizer, average, config),
        loader=_loader(config, train, {image.image_id: image.nbytes for image in report.images}, view, fabric),
        stopping=EarlyStopping(patience=config.stopping.patience, min_delta=config.stopping.min_delta, mode=mode),
        progress=Progress(),
        train=train,
        validation=validation,
        train_cells=sum(int(image.cells.sum()) for image in report.images if image.image_id in split.train),
        data_name=data.name,
        statistics=report.statistics(split.train),
    )
    if state is not None:
        _restore(prepared, state, folder.last)
    return prepared


def _restore(prepared: Prepared, state: dict[str, Any], path: Path) -> None:
    try:
        prepared.load_state(state)
        set_random_state(state["random"])
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:  # undamaged, but of another run
        raise CheckpointError(
            f"The state in {path} does not fit this run ({error!r:.200}); start again in a new run folder."
        ) from error


def _checked(data: Path, config: TrainConfig) -> Generator[Message, None, DataReport]:
    """Check the data; yield its warnings and the progress as messages, raise all errors together."""
    steps, told = scan_steps(data, config.classes, config.model.reading), time.monotonic()
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            report: DataReport = end.value
            break
        if time.monotonic() - told > 1:
            told = time.monotonic()
            yield Message("info", f"Checked image {step.image} of {step.images}")
    report.check()
    for problem in report.warnings:
        yield Message("warning", str(problem))
    return report


def _new_split(report: DataReport, config: TrainConfig) -> Split:
    groups = read_groups(config.data.groups) if config.data.groups is not None else None
    return draw_split(report, seed=config.seed, fraction=config.data.validation_fraction, groups=groups)


def _check_settings(config: TrainConfig, old: object) -> None:
    with suppress(ConfigError):  # names the settings of an older version as this one does
        old = TrainConfig.parse(old).model_dump(mode="json") if isinstance(old, dict) else old
    changed = [name for name in _differences(config.model_dump(mode="json"), old) if not name.startswith(_MAY_CHANGE)]
    if changed:
        raise ConfigError(
            f"To resume, these settings must not change: {', '.join(changed)}. These may change: "
            f"{', '.join(_MAY_CHANGE)}. For anything else start a new run folder."
        )


def _differences(new: Any, old: Any, name: str = "") -> list[str]:
    """Return the dotted names of all settings that differ."""
    if isinstance(new, dict) and isinstance(old, dict):
        inside = (_differences(new.get(key), old.get(key), f"{name}.{key}".lstrip(".")) for key in {**new, **old})
        return [found for part in inside for found in part]
    return [] if new == old else [name]


def first_network(config: TrainConfig) -> CellMaskRCNN:
    """Build the network with its initial weights (``config.start_from``), in training mode on the CPU."""
    source = config.start_from
    network = build_model(config.model, pretrained=source == "imagenet")
    if source in ("imagenet", "random"):
        return network
    path = start_file(source)
    _copy_fitting(load_weights(path)[0], network, path)
    return network


def _copy_fitting(weights: dict[str, Tensor], network: CellMaskRCNN, path: Path) -> None:
    """Copy every tensor with equal name and shape: with other classes, only the last layers stay untrained."""
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    if len(fitting) < len(own) / 2:
        raise ConfigError(
            f"The model {path} does not fit these settings: only {len(fitting)} of {len(own)} tensors fit. "
            "Use the settings of that model, or start from imagenet."
        )
    network.load_state_dict({**own, **fitting})


def _some(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return at most `_CALIBRATION_IMAGES` samples, spread evenly."""
    count = min(len(samples), _CALIBRATION_IMAGES)
    return [samples[i * len(samples) // count] for i in range(count)]


def _view(config: TrainConfig, model: ModelConfig) -> View:
    augmentation = Augmentation.of(config.augment, model)

    def view(image: TrainingImage, epoch: int, repeat: int) -> Item:
        rgb, class_maps = augmentation(image, sample_seed(config.seed, epoch, image.image_id, repeat))
        target = targets_from_maps(class_maps, augmentation.map_classes(image))
        validate_target(rgb, target, config.model.num_classes, image.image_id)
        return Item(image.image_id, rgb, target)

    return view


def _loader(
    config: TrainConfig, samples: Sequence[Sample], sizes: Mapping[str, int], view: View, fabric: Fabric
) -> ChunkedLoader[Sample, TrainingImage, Item]:
    return ChunkedLoader(
        samples,
        read_sample,
        view,
        chunks=config.data.chunks,
        views=config.data.views,
        repeats=config.data.repeats,
        budget_mib=config.data.ram_budget_mib,
        size=lambda sample: sizes[sample.image_id],
        workers=config.data.workers,
        seed=config.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        key=lambda sample: sample.image_id,
    )

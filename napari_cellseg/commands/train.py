"""``napari-cellseg train``: trains a model on annotated images."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellseg.commands.options import add_flags, given, when_used
from napari_cellseg.commands.reading import add_reading_options, reading_of
from napari_cellseg.model.presets import PRESETS

if TYPE_CHECKING:
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import TrainEvent, TrainSummary
    from napari_cellseg.model.flags import Flag
    from training.config import TrainConfig

__all__ = ["add_parser", "add_settings", "config_of", "is_first_process", "run", "show_training"]

_EPILOG = """\
The run folder keeps settings, split, metrics, plots, example predictions, best.safetensors and the resume state.
Settings: those of --config, or of the run with --resume, or the preset fitted to the data (cell size, number of images,
memory); --as-is uses the preset unchanged. Options and --set change them:  --set optimizer.batch=4 data.views=2
Several devices:   napari-cellseg train ... --devices 2
Several machines:  torchrun --nnodes 2 --nproc-per-node 4 -m napari_cellseg.cli train ..."""


_START_HELP = (
    '"imagenet", "random", "bundled", "nuclei" or a model file, whose network is then taken too; default: for preset '
    "lite, when it is fitted to the data and its network not changed, the bundled model that suits the images, else "
    "imagenet"
)


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model on annotated images",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="training folder or COCO JSON file")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    parser.add_argument("--resume", action="store_true", help="resume the run in RUN")
    add_settings(parser)
    parser.add_argument("--dry-run", action="store_true", help="check the data, print the settings as YAML, and stop")
    parser.set_defaults(run=run)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that `config_of` reads."""
    parser.add_argument("--preset", default="lite", choices=PRESETS, help="default: lite")
    parser.add_argument("--as-is", action="store_true", help="use the preset unchanged, not fitted to the data")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML")
    when_used(parser, lambda parser: add_flags(parser, _train_flags()))
    add_reading_options(parser)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="any setting, see --dry-run")


def _train_flags() -> tuple[Flag, ...]:
    """Return the settings that have their own options; ``--set`` takes all others."""
    from napari_cellseg.model.flags import flags_of
    from training.config import TrainConfig

    flags = flags_of(TrainConfig, named_only=True)
    return tuple(replace(flag, help=_START_HELP) if flag.setting == "start_from" else flag for flag in flags)


def run(options: argparse.Namespace) -> int:
    """Train to the end, or until Ctrl-C, which keeps the trained state."""
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import drive

    quiet, told = not is_first_process(), set[str]()
    with Bar("image", quiet=quiet) as bar:
        config = config_of(options, bar, told)
    if options.dry_run:
        print(config.to_yaml(), end="")
        return 0
    from training.engine import train

    with Bar("step", quiet=quiet) as bar:
        events = train(config, options.data, options.out, resume=options.resume)
        try:
            summary: TrainSummary = drive(events, lambda event: show_training(event, bar, told))
        except KeyboardInterrupt:
            bar.line(f"stopped; resume with: napari-cellseg train --data {options.data} --out {options.out} --resume")
            raise
    if not quiet and summary.checkpoint is not None:
        print(f"-> {summary.checkpoint}")
    return 0


def is_first_process() -> bool:
    """Whether this is the first of the processes that torchrun, SLURM or Fabric started."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def config_of(options: argparse.Namespace, bar: Bar, told: set[str] | None = None) -> TrainConfig:
    """Return the settings from the options of `add_settings`; ``told`` gets the data warnings that were printed."""
    from training.config import TrainConfig
    from training.dataset import find_samples

    if options.config is not None:
        config = TrainConfig.load(options.config)
    elif options.resume:
        config = _config_of_run(options.out)
    elif options.as_is:
        config = TrainConfig.preset(options.preset, find_samples(options.data).classes)
    else:
        config = _fitted(options, bar, set() if told is None else told)
    changes = given(options, _train_flags())
    reading = reading_of(options, config.model.reading)
    if reading != config.model.reading:
        changes["model__reading"] = reading
    changes |= dict(map(_setting, options.set))
    return config.with_changes(**changes) if changes else config


def _config_of_run(folder: Path) -> TrainConfig:
    from napari_cellseg.errors import ConfigError
    from training.config import TrainConfig

    path = folder / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"There is no run to resume in {folder}: it has no {path.name}.")
    return TrainConfig.load(path)


def _fitted(options: argparse.Namespace, bar: Bar, told: set[str]) -> TrainConfig:
    from napari_cellseg.events import drive
    from training.fit import fit, usual_start
    from training.report import ScanStep

    def show(step: ScanStep) -> None:
        bar.at(step.image, step.images, f"checking {step.image_id}")

    changed = (text.partition("=")[0].strip() for text in [*options.set, *getattr(options, "vary", [])])
    start = options.start_from or usual_start(options.preset, changed)
    fitting = fit(options.data, options.preset, start, reading_of(options), picks=options.start_from is None)
    config, report, why = drive(fitting, show)
    bar.line(report.summary())
    if why:
        bar.line(why)
    told.update(map(str, report.warnings))
    return config


def _setting(text: str) -> tuple[str, Any]:
    """Parse ``optimizer.batch=4``; the value is YAML."""
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.formats.yaml_gate import parse_yaml

    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError(f"--set takes NAME=VALUE, for example optimizer.batch=4, not {text!r}.")
    return name.strip().replace(".", "__"), parse_yaml(value, f"--set {text!r}")


def show_training(event: TrainEvent, bar: Bar, told: Collection[str] = ()) -> None:
    """Show an event of a training run, except the warnings in ``told``, which were shown before."""
    from napari_cellseg.events import EpochDone, Message, RunFinished, RunStarted, StepDone, ValidationStep
    from napari_cellseg.wording import about_time, counted
    from training.history import epoch_line, run_line

    if isinstance(event, StepDone):
        loss = sum(event.losses.values()) if "loss" not in event.losses else event.losses["loss"]
        where = f"epoch {event.epoch}, chunk {event.chunk}/{event.chunks}"
        left = f"{about_time(event.seconds_left)} left in the epoch"
        bar.at(event.step, event.steps, f"{where}, loss {loss:.3f}, {left}")
    elif isinstance(event, ValidationStep):
        bar.at(event.image, event.images, f"epoch {event.epoch}, measuring")
    elif isinstance(event, EpochDone):
        bar.line(epoch_line(event))
    elif isinstance(event, RunStarted):
        bar.line(
            f"{counted(event.train_images, 'image')} to train on ({counted(event.train_cells, 'cell')}), "
            f"{event.validation_images} to validate, "
            f"classes {', '.join(event.class_names)}, on {event.device} ({event.reason})"
        )
        bar.line(f"epochs {event.first_epoch} to {event.epochs} -> {event.run_folder}")
    elif isinstance(event, RunFinished):
        bar.line(run_line(event))
    elif isinstance(event, Message) and event.text not in told:
        bar.line(f"{event.level}: {event.text}" if event.level == "warning" else event.text)

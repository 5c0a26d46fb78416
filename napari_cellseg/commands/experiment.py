"""``napari-cellseg experiment``: trains every combination of a few settings and compares them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellseg.commands.train import add_settings, config_of, is_first_process, show_training

if TYPE_CHECKING:
    from training.experiment import Result

__all__ = ["add_parser", "run"]

_EPILOG = """\
Without --vary, augmentation is varied (on and off). Values are separated by commas:
  napari-cellseg experiment --data DATA --out FOLDER --epochs 30 \\
      --vary model.backbone.name=tf_efficientnet_lite0,resnet18 augment.enabled=true,false
FOLDER gets one run folder per combination, results.csv, results.txt and curves.png. Repeat the command to resume."""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "experiment",
        help="compare settings: train every combination of a few",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="training folder or COCO JSON file")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the runs and the results")
    parser.add_argument(
        "--vary",
        nargs="+",
        default=["augment.enabled=true,false"],
        metavar="NAME=A,B",
        help="settings to vary, each with its values",
    )
    add_settings(parser)
    parser.set_defaults(run=run, resume=False)


def run(options: argparse.Namespace) -> int:
    """Train all combinations and print the table of results."""
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import drive
    from training.experiment import experiment, grid, table

    variants = grid(dict(map(_values, options.vary)))
    quiet = not is_first_process()
    with Bar("image", quiet=quiet) as bar:
        config = config_of(options, bar)
    with Bar("step", quiet=quiet) as bar:
        events = experiment(config, variants, options.data, options.out)
        results: tuple[Result, ...] = drive(events, lambda event: show_training(event, bar))
    if not quiet:
        print(table(results))
        print(f"-> {options.out / 'results.csv'}, {options.out / 'curves.png'}")
    return 0


def _values(text: str) -> tuple[str, list[Any]]:
    """Parse ``augment.enabled=true,false``; each value is YAML."""
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.formats.yaml_gate import parse_yaml

    name, separator, values = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"--vary takes NAME=A,B, for example augment.enabled=true,false, not {text!r}.")
    return name.strip(), [parse_yaml(value, f"--vary {text!r}") for value in values.split(",") if value.strip()]

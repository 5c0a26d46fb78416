"""``napari-cellseg package``: a model as a package of the BioImage Model Zoo, and back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_EPILOG = """\
  napari-cellseg package lite-consep --out lite.zip              pack a model of the library, or a model file
  napari-cellseg package lite.zip --out lite.safetensors         get the model file back"""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "package",
        help="write a model as a bioimage.io package, or read one",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="name of a model, a model file, or a package (.zip)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .zip, or a .safetensors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Pack or unpack."""
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.model.library import ModelLibrary
    from napari_cellseg.model.zoo import pack, unpack

    is_package = options.model.lower().endswith(".zip")
    suffix = ".safetensors" if is_package else ".zip"
    if options.out.suffix.lower() != suffix:
        raise ConfigError(f"--out {options.out} must end in {suffix}: {options.model} becomes such a file.")
    if is_package:
        header = unpack(Path(options.model), options.out)
        print(f"{header.name or options.out.stem}: {', '.join(header.classes.names)} -> {options.out}")
    else:
        pack(ModelLibrary().find(options.model), options.out)
        print(f"-> {options.out}")
    return 0

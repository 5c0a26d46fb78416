"""``napari-cellseg import``: converts annotations of other tools to a training folder and lists what was left out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellseg.commands.options import when_used

if TYPE_CHECKING:
    from napari_cellseg.importers import Imported, ImportOptions

__all__ = ["add_parser", "run"]

_MOST_ROWS = 50

_EPILOG = """\
PATH is a file, a folder or a zip of annotations with their images: COCO (CVAT, Label Studio, Roboflow, VIA, ...),
Datumaro, VIA 2 and 3, Label Studio and labelme JSON, CVAT XML, QuPath GeoJSON, ImageJ ROIs,
Aperio XML (MoNuSAC, MoNuSeg), CoNSeP and Lizard .mat, PanNuke .npy,
Cellpose and StarDist masks, Data Science Bowl folders, label images.
  napari-cellseg import task_1.zip --out project
  napari-cellseg import masks --images images --out project --split touching
  napari-cellseg import CoNSeP/Train --out project --rename "fibroblast=spindle" "muscle=spindle"
The exit code is 0 if every annotation became a cell, 1 if some were left out (the others are written), 2 if none can be
used."""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "import",
        help="convert annotations of other tools to a training folder",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="file, folder or zip, see below")
    parser.add_argument("--out", type=Path, metavar="PROJECT", help="folder to write, or to add images to")
    when_used(parser, _add_format)
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images, if not near the annotations")
    parser.add_argument("--classes", nargs="+", default=(), metavar="NAME", help="classes in the order of their ids")
    parser.add_argument("--rename", nargs="+", default=(), metavar="OLD=NEW", help="rename classes, or join several")
    parser.add_argument(
        "--split",
        choices=("no", "parts", "touching"),
        default="no",
        help="split binary masks into separate regions (parts), and also split touching cells (touching)",
    )
    parser.add_argument("--colours", type=Path, metavar="FILE", help='JSON {"class": "#rrggbb", ...} for colour masks')
    parser.add_argument("--dry-run", action="store_true", help="show the result and write nothing")
    parser.set_defaults(run=run)


def _add_format(parser: argparse.ArgumentParser) -> None:
    from napari_cellseg.importers import FORMATS

    parser.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the annotations (default: recognised)"
    )


def run(options: argparse.Namespace) -> int:
    """Import; return 1 if something was left out."""
    from napari_cellseg.errors import AnnotationError, ConfigError
    from napari_cellseg.importers import import_annotations

    if options.out is None and not options.dry_run:
        raise ConfigError("Give the folder to write with --out PROJECT, or try the import with --dry-run.")
    result = import_annotations(options.path, _options(options), options.format)
    _show(result)
    if not result.kept:
        raise AnnotationError(f"No annotation of {options.path} can be used; nothing was written.")
    failed = False
    if not options.dry_run:
        failed = _write(result, options.out)
    return 1 if result.left_out or failed else 0


def _options(options: argparse.Namespace) -> ImportOptions:
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.importers import ImportOptions

    rename = {}
    for pair in options.rename:
        old, equals, new = pair.partition("=")
        if not equals or not old.strip() or not new.strip():
            raise ConfigError(f"--rename takes OLD=NEW, not {pair!r}.")
        rename[old.strip()] = new.strip()
    return ImportOptions(
        images=options.images,
        classes=tuple(options.classes),
        rename=rename,
        split=options.split,
        colours=_colours(options.colours),
    )


def _colours(path: Path | None) -> dict[tuple[int, int, int], str]:
    import re

    from napari_cellseg.errors import ConfigError
    from napari_cellseg.formats.json_gate import read_json

    if path is None:
        return {}
    table = read_json(path, error=ConfigError)
    entries = table.items() if isinstance(table, dict) else []
    if not entries or not all(isinstance(text, str) and re.fullmatch("#[0-9a-fA-F]{6}", text) for _, text in entries):
        raise ConfigError(f'{path} is not a table of colours; it needs {{"class": "#rrggbb", ...}}.')
    parts = ((bytes.fromhex(text[1:]), name) for name, text in entries)
    return {(rgb[0], rgb[1], rgb[2]): name for rgb, name in parts}


def _show(result: Imported) -> None:
    print(f"{result.source}: {result.format_name}")
    headline = result.headline()
    print(headline[0].upper() + headline[1:] + ".")
    for class_id, name, _ in result.classes:
        count = sum(int((image.cells.class_ids == class_id).sum()) for image in result.images)
        print(f"  {name}: {count:,}")
    for note in result.notes:
        print(note)
    for item in result.left_out[:_MOST_ROWS]:
        print(f"left out: {item}", file=sys.stderr)
    if len(result.left_out) > _MOST_ROWS:
        print(f"left out: and {len(result.left_out) - _MOST_ROWS:,} more", file=sys.stderr)


def _write(result: Imported, out: Path) -> bool:
    """Write the folder; return whether an image could not be written."""
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import drive
    from napari_cellseg.importers.write import EXACT_NAME, LEFT_OUT_NAME, WriteStep, write_training_folder
    from napari_cellseg.wording import counted

    with Bar("image") as bar:

        def show(step: WriteStep) -> None:
            bar.at(step.image, step.images, step.name)

        written = drive(write_training_folder(result, out), show)
    for name, text in written.failed:
        print(f"{name}: {text}", file=sys.stderr)
    if written.covered.cells:
        lost = written.covered
        hidden = f", and {counted(lost.hidden, 'cell')} as a whole" if lost.hidden else ""
        print(
            "Cells of one class overlap, and the smaller is on top: class*.tif lacks "
            f"{counted(lost.pixels, 'pixel')} of {counted(lost.cells, 'cell')}{hidden}. {out / EXACT_NAME} has every "
            "cell whole; training and evaluation of the folder use them."
        )
    if result.left_out:
        print(f"The list of what was left out is {out / LEFT_OUT_NAME}.")
    print(f"{counted(len(result.images) - len(written.failed), 'image')} -> {out}")
    return bool(written.failed)

"""``napari-cellseg crops``: cuts annotated regions of a slide out as training samples."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellseg.commands.reading import add_reading_options, reading_of

if TYPE_CHECKING:
    from napari_cellseg.commands.slides import Polygons
    from napari_cellseg.export.crop_cells import SlideCells
    from napari_cellseg.images.options import ReadOptions

__all__ = ["add_parser", "run"]

_EPILOG = """\
Draw regions in which every cell is right: rectangles or polygons, as QuPath exports annotations. Each becomes one
sample, DIR/<slide>_region<n>/image.tif with class<k>.tif, which train reads; the slide is never in memory as a whole.
A cell that the border of a region cuts is kept in part, as at the border of any image. Around a polygon, training
shows no pixel."""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "crops",
        help="cut annotated regions of a slide out as training samples",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("slide", type=Path, help="TIFF, slide or OME-Zarr of any size")
    parser.add_argument(
        "--region",
        required=True,
        metavar="REGION",
        help="GeoJSON file with polygons in px of level 0, each a region, or one as x,y,width,height",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="training folder, also of other slides")
    add_reading_options(parser)
    group = parser.add_argument_group("cells")
    group.add_argument(
        "--cells",
        type=Path,
        metavar="FILE",
        help="the cells of the slide, as predict or Segment wrote them (default: cells/<slide>.sqlite next to it)",
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="LABELS",
        help="instead of --cells: a folder with class1.tif, class2.tif, ... of the whole slide or of a level of it, or "
        "an OME-Zarr with labels as export --to ome-zarr writes it",
    )
    group.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="leave out cells below this score about which no one decided (default: the model's for each class)",
    )
    group.add_argument(
        "--unreviewed",
        choices=("refuse", "keep", "leave-out"),
        default="refuse",
        help="cells in a region that were neither accepted nor rejected (default: refuse)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Cut the regions out."""
    from napari_cellseg.commands.slides import parse_region
    from napari_cellseg.errors import ConfigError

    if options.level is not None:
        raise ConfigError("--level: the samples have the resolution level of the cells. Leave it out.")
    if options.labels is not None and (options.cells is not None or options.min_score is not None):
        raise ConfigError("--labels has the cells itself. Leave out --cells and --min-score.")
    if options.min_score is not None and not 0 <= options.min_score <= 1:
        raise ConfigError(f"--min-score {options.min_score}: give a score from 0 to 1.")
    polygons, reading = parse_region(options.region), reading_of(options)
    with _opened_cells(options) as cells:
        if cells.remark:
            print(f"warning: {cells.remark}", file=sys.stderr)
        _cut(options, cells, polygons, reading)
    return 0


@contextmanager
def _opened_cells(options: argparse.Namespace) -> Iterator[SlideCells]:
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.export.crop_cells import LabelledCells, StoredCells
    from napari_cellseg.formats.cell_reader import CellReader
    from napari_cellseg.formats.label_regions import opened_labels

    slide: Path = options.slide
    if options.labels is not None:
        with opened_labels(options.labels) as labels:
            yield LabelledCells(options.labels, labels)
        return
    store = options.cells or slide.parent / "cells" / f"{slide.with_suffix('').name}.sqlite"
    if not store.is_file():
        raise ConfigError(
            f"{store} does not exist. Segment the slide first, with predict --out {slide.parent} or in the viewer, or "
            "name the file with --cells, or label images with --labels."
        )
    with CellReader(store) as reader:
        yield StoredCells(reader, options.min_score, options.unreviewed)


def _cut(options: argparse.Namespace, cells: SlideCells, polygons: Polygons, reading: ReadOptions) -> None:
    from napari_cellseg.export.crops import write_crops
    from napari_cellseg.wording import counted

    crops = []
    for crop in write_crops(options.slide, cells, polygons, options.out, reading=reading):
        height, width = crop.size
        print(f"{crop.folder.name}: {height} x {width} px, {counted(crop.cells, 'cell')}")
        crops.append(crop)
    cut, covered = sum(crop.cut for crop in crops), sum(crop.covered for crop in crops)
    notes = [f"{cut:,} cut by the border of a region: the part inside is kept"] if cut else []
    left_out = sum(crop.left_out for crop in crops)
    notes += [f"{left_out:,} not reviewed and left out"] if left_out else []
    notes += [f"{covered:,} covered by smaller ones of their class and lost"] if covered else []
    total = counted(sum(crop.cells for crop in crops), "cell")
    text = f" ({'; '.join(notes)})" if notes else ""
    print(f"{counted(len(crops), 'sample')}, {total}{text} -> {options.out}")

"""``napari-cellseg report``: one HTML page about results or a project."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cellseg.export import ExportProgress
    from napari_cellseg.instances import InstanceMasks
    from napari_cellseg.report.write import ReportSummary
    from napari_cellseg.review.region import Region

__all__ = ["add_parser", "run"]

RESULTS_NAME = "test-results.json"

_EPILOG = """\
SOURCE is a reviewed folder (one that napari-cellseg saved in), a training folder, a COCO file, or a results file or the
folder that predict wrote, with --images. A results file has every detection; the page counts the cells that predict
counted: those that reach the minimum score of their class (0.5 if another program wrote the file), or --min-score.
  napari-cellseg report data/train --html report.html
  napari-cellseg report results --images test --truth data/test --html report.html"""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "report",
        help="write one HTML page with counts, plots, outliers and pictures",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="results or project, see below")
    parser.add_argument("--html", type=Path, required=True, metavar="FILE", help="the page to write")
    parser.add_argument("--images", type=Path, metavar="DIR", help="where the images of results lie")
    parser.add_argument(
        "--ids",
        type=Path,
        metavar="FILE",
        help="ids of the images (default: the file found next to the results or the images)",
    )
    parser.add_argument("--truth", type=Path, metavar="DIR", help="annotated images to compare with")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="names of the classes, in the order of their ids")
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="leave out cells with a lower score, of results and data sets (default: see below)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page; return 1 if an image had to be left out."""
    from napari_cellseg.commands.export import items_of_source
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import drive
    from napari_cellseg.report.write import write_report
    from napari_cellseg.wording import counted

    given = str(options.source)
    if (options.source / RESULTS_NAME).is_file():
        options.source = options.source / RESULTS_NAME
    items, classes, left_out = items_of_source(options)
    truth, regions = (None, None) if options.truth is None else _truth(options.truth)
    with Bar("image") as bar:

        def show(event: ExportProgress) -> None:
            bar.at(event.image, event.images, event.image_id)

        steps = write_report(items, classes, options.html, source=given, truth=truth, regions=regions)
        summary: ReportSummary = drive(steps, show)
    for image_id, text in summary.problems:
        print(f"{image_id}: {text}", file=sys.stderr)
    compared = f", {summary.compared} compared with the ground truth" if options.truth is not None else ""
    print(f"{counted(summary.images, 'image')}, {summary.counted}{compared} -> {summary.path}")
    return 1 if left_out or summary.problems else 0


def _truth(folder: Path) -> tuple[Mapping[str, InstanceMasks], Mapping[str, Region]]:
    from training.dataset import find_samples
    from training.truth import truth_of

    source = find_samples(folder)
    return truth_of(source), source.regions

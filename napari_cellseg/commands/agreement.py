"""``napari-cellseg agreement``: how far two readers agree who reviewed the same images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cellseg.export.plan import ExportProgress
    from napari_cellseg.report.agreement import Agreement

__all__ = ["add_parser", "run"]

_EPILOG = """\
A and B are copies of one folder of images, each reviewed and saved by one reader. Only cells that a reader accepted,
corrected or drew are compared. Disagreements that were settled in Review are counted as settled.
  napari-cellseg agreement data-ana data-ben --csv protocol.csv --html agreement.html"""


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser(
        "agreement",
        help="compare the decisions of two readers, and write a protocol",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", type=Path, metavar="A", help="the project of the first reader")
    parser.add_argument("second", type=Path, metavar="B", help="the project of the second reader")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write one row per cell: who decided what, and when")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures of the disagreements")
    parser.add_argument(
        "--adjudication",
        type=Path,
        metavar="FILE",
        help="write one row per disputed cell: settled how, by whom, or open",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, write the files, print the figures."""
    from napari_cellseg.commands.progress import Bar
    from napari_cellseg.events import drive
    from napari_cellseg.report.adjudication import write_adjudication
    from napari_cellseg.report.protocol import agreement_of, write_agreement_page, write_protocol
    from napari_cellseg.workspace import look_at

    first, second = look_at(options.first), look_at(options.second)
    with Bar("image") as bar:

        def show(event: ExportProgress) -> None:
            bar.at(event.image, event.images, event.image_id)

        agreement: Agreement = drive(agreement_of(first, second), show)
    if options.csv is not None:
        write_protocol(agreement, options.csv)
    if options.html is not None:
        write_agreement_page(agreement, first, options.html)
    if options.adjudication is not None:
        write_adjudication(agreement, options.adjudication)
    _print(agreement)
    for path in (options.csv, options.html, options.adjudication):
        if path is not None:
            print(f"-> {path}")
    return 0


def _print(agreement: Agreement) -> None:
    from napari_cellseg.report.adjudication import adjudication_lines
    from napari_cellseg.report.agreement import kappa
    from napari_cellseg.report.page import number_text
    from napari_cellseg.wording import counted

    for image_id, why in agreement.left_out:
        print(f"{image_id} is left out: {why}")
    tally = agreement.tally()
    sums = f"{counted(len(agreement.images), 'image')}, {counted(tally.total(), 'cell')}"
    print(f"{' and '.join(agreement.readers)}: {sums}")
    for verdict, count in tally.most_common():
        print(f"  {count:6,} {verdict.value}")
    for line in adjudication_lines(agreement):
        print(line)
    print(f"kappa of the classes: {number_text(kappa(agreement.table))}")
    width = max(map(len, agreement.classes.names))
    print(f"{'class':<{width}}   first  second matched  kappa     PQ")
    for class_id, name, _ in agreement.classes:
        counts, own = agreement.counts(class_id), number_text(agreement.class_kappa(class_id))
        figures = f"{counts.matched + counts.missed:7,} {counts.matched + counts.false:7,} {counts.matched:7,}"
        print(f"{name:<{width}} {figures} {own:>6} {number_text(counts.pq):>6}")

"""``napari-cellseg validate``: lists the problems of a results file, row by row."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser("validate", help="check a test-results.json or .zip before submission")
    parser.add_argument("results", type=Path, help="test-results.json, or the zip that holds it")
    parser.add_argument(
        "--ids",
        type=Path,
        metavar="FILE",
        help="JSON list of the images and their ids (default: the file found next to the results)",
    )
    parser.add_argument("--classes", type=int, metavar="K", help="number of classes; category ids are then 1..K")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="print at most N problems (default: 20, or 10 with ids of another set)"
    )
    parser.add_argument("--json", action="store_true", help="print all problems as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check; return 0 if the file is valid, else 1."""
    from napari_cellseg.formats.coco import check_results, read_image_ids
    from napari_cellseg.wording import counted

    images = read_image_ids(_ids_of(options))
    problems = check_results(options.results, images, options.classes)
    if options.json:
        print(json.dumps([asdict(problem) for problem in problems], indent=1))
        return 1 if problems else 0
    is_other_set = len(problems) > 1 and problems[0].row is None
    limit = options.limit if options.limit is not None else 11 if is_other_set else 20  # 10 rows and why
    for problem in problems[:limit]:
        print(problem)
    if len(problems) > limit:
        print(f"... and {len(problems) - limit:,} more (--limit {len(problems)} shows all)")
    wrong = counted(len(problems), "problem") if problems else "no problem"
    print(f"{options.results}: {wrong}, for {counted(len(images), 'image')}")
    return 1 if problems else 0


def _ids_of(options: argparse.Namespace) -> Path:
    """Return the id file that was given or found, and say which was found."""
    from napari_cellseg.errors import ConfigError
    from napari_cellseg.formats.ids import IDS_NAME, find_ids

    if options.ids is not None:
        return Path(options.ids)
    found = find_ids(options.results.absolute().parent)
    if found is None:
        raise ConfigError(f"There is no {IDS_NAME} in the folder of {options.results} or next to it. Give --ids FILE.")
    print(f"Ids of {found}", file=sys.stderr)
    return found

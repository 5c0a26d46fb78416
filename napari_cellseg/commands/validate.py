"""``napari-cellseg validate``: lists the problems of a results file, row by row."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the options of the command."""
    parser = subparsers.add_parser("validate", help="check a test-results.json or .zip before submission")
    parser.add_argument("results", type=Path, help="test-results.json, or the zip that holds it")
    parser.add_argument("--ids", type=Path, required=True, metavar="FILE", help="JSON list of the images and their ids")
    parser.add_argument("--classes", type=int, metavar="K", help="number of classes; category ids are then 1..K")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="print at most N problems (default: 20)")
    parser.add_argument("--json", action="store_true", help="print all problems as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check; return 0 if the file is valid, else 1."""
    from napari_cellseg.formats.coco import check_results, read_image_ids
    from napari_cellseg.wording import counted

    images = read_image_ids(options.ids)
    problems = check_results(options.results, images, options.classes)
    if options.json:
        print(json.dumps([asdict(problem) for problem in problems], indent=1))
        return 1 if problems else 0
    for problem in problems[: options.limit]:
        print(problem)
    if len(problems) > options.limit:
        print(f"... and {len(problems) - options.limit} more (--limit {len(problems)} shows all)")
    wrong = counted(len(problems), "problem") if problems else "no problem"
    print(f"{options.results}: {wrong}, for {counted(len(images), 'image')}")
    return 1 if problems else 0

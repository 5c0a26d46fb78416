"""The parser of the command line: one subcommand for each module of `napari_cellseg.commands`."""

from __future__ import annotations

import argparse

from napari_cellseg import __version__
from napari_cellseg.commands import (
    agreement,
    crops,
    demo,
    doctor,
    evaluate,
    experiment,
    export,
    import_annotations,
    package,
    predict,
    report,
    samples,
    train,
    validate,
)
from napari_cellseg.commands.options import LazyParser

__all__ = ["make_parser"]

_COMMANDS = (
    predict,
    train,
    experiment,
    evaluate,
    validate,
    import_annotations,
    export,
    crops,
    report,
    agreement,
    package,
    doctor,
    demo,
    samples,
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of ``napari-cellseg``; the parsed options have ``run``, the function of the subcommand."""
    parser = argparse.ArgumentParser(
        prog="napari-cellseg",
        description="Segment, measure and train on cells of several classes in colour microscopy.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show all log lines, and tracebacks of errors")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=LazyParser)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return parser

"""The command ``napari-cellseg``.

Exit codes: 0 all well, 1 done but with problems (a bad image among good ones, a submission with wrong rows), 2 a
mistake in what was asked, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from napari_cellseg import __version__
from napari_cellseg.commands import (
    demo,
    doctor,
    evaluate,
    experiment,
    export,
    import_annotations,
    predict,
    train,
    validate,
)
from napari_cellseg.commands.options import LazyParser
from napari_cellseg.errors import CellSegError

__all__ = ["main"]

_COMMANDS = (predict, train, experiment, evaluate, validate, import_annotations, export, doctor, demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process when left out.
    """
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    level = logging.DEBUG if options.debug else logging.WARNING
    logging.basicConfig(format="%(levelname)s: %(message)s", level=level, handlers=[handler])
    before = _let_terminate_stop()
    try:
        code: int = options.run(options)
    except CellSegError as error:
        _complain(str(error), debug=options.debug)
        return 2
    except KeyboardInterrupt:
        print("napari-cellseg: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # what reads our output has gone (`... | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001
        _complain(f"unexpected {type(error).__name__}: {error}. This is a bug; please report it.", debug=True)
        return 1
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    return code


class _Once(logging.Filter):
    """Lets each message pass once: a file may be read several times, to check it, to show it and to use it."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, int, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this message is new."""
        message = record.name, record.levelno, record.getMessage()
        is_new = message not in self._seen
        self._seen.add(message)
        return is_new


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="napari-cellseg", description="Find, measure and learn cells of several classes in colour microscopy."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show all log lines, and tracebacks of errors")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=LazyParser)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return parser


def _complain(text: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"napari-cellseg: {text}", file=sys.stderr)


def _let_terminate_stop() -> Any:
    """Make SIGTERM (a job scheduler's end) stop as Ctrl-C does; returns what handled it before."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        return None


if __name__ == "__main__":
    sys.exit(main())

"""The command ``napari-cellseg``.

Exit codes: 0 success, 1 done with problems (a bad image among good ones, a submission with invalid rows), 2 invalid
input, 130 stopped by Ctrl-C.

Importing this module is quick, so that a Ctrl-C during the imports that take seconds ends the command in one line too.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

__all__ = ["entry", "main"]

STOPPED = 130
"""The exit code of a command that Ctrl-C stopped, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process if left out.
    """
    with _Interrupts() as interrupts:
        try:
            code = _run(arguments, interrupts)
        except KeyboardInterrupt:
            interrupts.came = True
        except Exception:
            if not interrupts.came:
                raise
        if interrupts.came:
            print("napari-cellseg: stopped.", file=sys.stderr)
            return STOPPED
        return code


class _Interrupts:
    """Makes Ctrl-C and SIGTERM (from a job scheduler) raise `KeyboardInterrupt`, and records that one came.

    An extension module may convert the exception to an `ImportError`, or lose it, while it is imported.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._stop)
            except ValueError:  # not in the main thread
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _stop(self, _number: int, _frame: FrameType | None) -> NoReturn:
        self.came = True
        raise KeyboardInterrupt


def _run(arguments: Sequence[str] | None, interrupts: _Interrupts) -> int:
    from napari_cellseg.commands.parser import make_parser
    from napari_cellseg.errors import CellSegError

    options = make_parser().parse_args(arguments)
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    level = logging.DEBUG if options.debug else logging.WARNING
    logging.basicConfig(format="%(levelname)s: %(message)s", level=level, handlers=[handler])
    try:
        code: int = options.run(options)
    except CellSegError as error:
        if not interrupts.came:
            _complain(str(error), debug=options.debug)
        return 2
    except BrokenPipeError:  # the reader of the output has closed it (`... | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001
        if not interrupts.came:
            _complain(f"unexpected {type(error).__name__}: {error}. This is a bug; please report it.", debug=True)
        return 1
    return code


class _Once(logging.Filter):
    """Passes each message once: a file may be read several times, to check, show and use it."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, int, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this message is new."""
        message = record.name, record.levelno, record.getMessage()
        is_new = message not in self._seen
        self._seen.add(message)
        return is_new


def _complain(text: str, *, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"napari-cellseg: {text}", file=sys.stderr)


def entry() -> NoReturn:
    """Run the command of this process, and end the process with its exit code."""
    code = main()
    if code == STOPPED:
        # Not through the interpreter's teardown, which hangs when an import of native libraries was cut off.
        with suppress(Exception):
            atexit._run_exitfuncs()
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(STOPPED)
    sys.exit(code)


if __name__ == "__main__":
    entry()

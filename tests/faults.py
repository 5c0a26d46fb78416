"""Faults that a test puts under a writer: at the n-th file operation, at a size of a file, at a sync, in a folder."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRATCH = Path(tempfile.mkdtemp(prefix="cellseg-faults-"))
"""Of this process, which removes it."""

_OPERATIONS = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.truncate", "shutil.rmtree"}


class Fault:
    """Does something at the n-th file operation in a folder."""

    def __init__(self) -> None:
        self.folder = ""
        self.left = -1
        self.met = False
        self.act: Callable[[], None] = lambda: None
        sys.addaudithook(self._look)

    def arm(self, folder: Path, number: int, act: Callable[[], None]) -> None:
        self.folder, self.left, self.act = str(folder), number, act

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left < 0 or not (event in _OPERATIONS or event == "open"):
            return
        if event == "open" and (not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if str(arguments[0]).startswith(self.folder):
            self.left -= 1
            if self.left < 0:
                self.met = True
                self.act()


FAULT = Fault()


def refuse(number: int) -> Callable[[], None]:
    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def at_operation(number: int, act: Callable[[], None]) -> Callable[[Path], None]:
    return lambda folder: FAULT.arm(folder, number, act)


def no_more_than(size: int, *, deadly: bool) -> Callable[[Path], None]:
    def arm(_: Path) -> None:
        if deadly:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    return arm


def no_sync(number: int) -> Callable[[Path], None]:
    def arm(_: Path) -> None:
        left, sync = [number], os.fsync

        def fail(descriptor: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                FAULT.met = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(descriptor)

        os.fsync = fail

    return arm


def read_only(folder: Path) -> None:
    for each in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        each.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere

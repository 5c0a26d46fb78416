"""Generators that the engine process runs in its own tests."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from napari_cellseg.engine_process.tasks import Target
from napari_cellseg.errors import CellSegError, ImageReadError

START = (
    "import sys; from pathlib import Path; sys.path.insert(0, {!r}); from engine_tasks import TASKS;"
    "from napari_cellseg.engine_process.host import serve; serve(TASKS, Path(sys.argv[1]))"
)
HOST = (sys.executable, "-c", START.format(str(Path(__file__).parent)))


class PickyError(CellSegError):
    """Cannot be unpickled: its constructor wants something else than its text."""

    def __init__(self, path, line):
        super().__init__(f"{path}: line {line} is wrong")


def count(n=3, wait_s=0.0, cleaned=None):
    try:
        for i in range(n):
            time.sleep(wait_s)
            yield i
        return {"pid": os.getpid()}
    finally:
        if cleaned is not None:
            Path(cleaned).write_text("cleaned up")


def count_to(task):
    yield from range(task.n)


def double(arrays):
    for array in arrays:
        yield array * 2
    return arrays


def chatter():
    print("to Python's stdout")  # noqa: T201
    os.write(1, b"to the file descriptor")
    yield sys.stdin.read()
    return "heard"


def fail(kind):
    yield "first"
    errors = {
        "cellseg": ImageReadError("a.tif is not a TIFF file; save it as TIFF."),
        "picky": PickyError("a.txt", 3),
        "other": ZeroDivisionError("by zero"),
        "memory": MemoryError(),
        "cuda": RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"),
        "disk": OSError(errno.ENOSPC, "No space left on device", "/data/run/last.safetensors"),
        "exit": SystemExit(3),
    }
    raise errors[kind]


def die(how):
    yield "alive"
    if how == "exit":
        print("last words", flush=True)  # noqa: T201
        os._exit(7)
    if how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


def hang(cleaned=None):
    try:
        yield os.getpid()
        time.sleep(60)
        yield None
    finally:
        if cleaned is not None:
            Path(cleaned).write_text("cleaned up")


def unpicklable():
    yield lambda: None


def flood(n):
    for i in range(n):
        yield np.full(100_000, i, np.uint8)


class Tally:
    """Counts how often it was called."""

    def __init__(self):
        self._calls = 0

    def __call__(self):
        self._calls += 1
        yield from ()
        return self._calls


TASKS = {"tally": Target("engine_tasks:Tally")} | {
    f.__name__: Target(f"engine_tasks:{f.__name__}")
    for f in (count, count_to, double, chatter, fail, die, hang, unpicklable, flood)
}

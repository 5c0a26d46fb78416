"""What a test may leave behind: no thread, no process, no active timer, no visible window."""

from __future__ import annotations

import gc
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import psutil
import pytest

PATIENCE_S = 30.0
"""Time for things that end on their own; a busy machine is slow."""

# What Qt, napari and Python keep for as long as the program runs, each by its name. Nothing of ours belongs here.
KEPT_THREADS = (
    "Dummy-",  # a thread of Qt that called Python
    "ThreadPoolExecutor-",  # napari's slicing and dask, both kept for reuse
    "zarr_io",  # the event loop of zarr, with its workers
    "asyncio_",
    "tqdm_monitor",  # one for all progress bars
    "crash-guard",  # of the test command itself
    "execnet",
)
KEPT_PROCESSES = ("multiprocessing.resource_tracker",)  # Python's own, started with the first shared memory
KEPT_WINDOWS = ("QTipLabel",)  # a tooltip goes when Qt thinks so
KEPT_TIMERS = ("napari.", "vispy.", "superqt.", "pyqtgraph.", "qtconsole.")  # modules of their owners


class Leftovers:
    """Compares what there is now with what there was when it was made."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._processes = {process.pid for process in _children()}
        self._timers = {id(timer) for timer in _timers()}
        self._windows = {id(window) for window in _windows()}

    def found(self) -> list[str]:
        """Return what is left, in words; what may still end is given time to."""
        end = time.monotonic() + PATIENCE_S
        left = self._look()
        while left and time.monotonic() < end:
            _let_qt_work()
            left = self._look()
            if left:
                gc.collect()
                time.sleep(0.02)
                left = self._look()
        return left

    def _look(self) -> list[str]:
        threads = [
            f"thread {thread.name} ({getattr(thread, '_target', None)!r:.90})"
            for thread in threading.enumerate()
            if thread not in self._threads and not thread.name.startswith(KEPT_THREADS)
        ]
        processes = [
            f"process {process.pid}: {line}"
            for process in _children()
            if process.pid not in self._processes
            and (line := _command(process)) is not None
            and not any(name in line for name in KEPT_PROCESSES)
        ]
        timers = [f"timer of {_owner(timer)}" for timer in _timers() if id(timer) not in self._timers]
        windows = [f"visible {_name(window)}" for window in _windows() if id(window) not in self._windows]
        return threads + processes + timers + windows


def set_aside() -> None:
    """Hide all objects there are now from the garbage collector, and so from the search for timers.

    The imports of the suite make more than half a million of them, and each check after a test would walk through them.
    """
    gc.collect()
    gc.freeze()


def is_looked_at(item: pytest.Item) -> bool:
    """Whether a test is one of the window."""
    names = {"qapp", "qtbot"}.intersection(getattr(item, "fixturenames", ()))
    return bool(names or item.get_closest_marker("gui"))


def shares_with_other_tests(item: pytest.Item) -> bool:
    """Whether a test uses what a fixture of ours keeps for several tests, and so may rightly leave something."""
    info: Any = getattr(item, "_fixtureinfo", None)
    fixtures = [] if info is None else [fixture for all_of in info.name2fixturedefs.values() for fixture in all_of]
    return any(
        fixture.scope != "function" and fixture.func.__module__.startswith(("test_", "conftest"))
        for fixture in fixtures
        if not fixture.argname.startswith("_leaves_nothing")
    )


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _command(process: psutil.Process) -> str | None:
    """Return the command line of a process; None when it is over."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        if process.status() != psutil.STATUS_ZOMBIE or process.ppid() == psutil.Process().pid:
            return " ".join(process.cmdline()) or f"{process.name()} ({process.status()})"
    return None


def _has_windows() -> bool:
    if "qtpy.QtWidgets" not in sys.modules:
        return False
    from qtpy.QtWidgets import QApplication

    return QApplication.instance() is not None


def _timers() -> list[Any]:
    """Return the active timers that Python knows of, without those of other packages' objects."""
    if not _has_windows():
        return []
    from qtpy.QtCore import QTimer

    return [
        timer
        for timer in gc.get_objects()
        if type(timer) is QTimer and _is_active(timer) and not _owner(timer).startswith(KEPT_TIMERS)
    ]


def _is_active(timer: Any) -> bool:
    with suppress(RuntimeError):  # Qt has deleted it
        return bool(timer.isActive())
    return False


def _owner(timer: Any) -> str:
    parent = timer.parent()
    return "no parent" if parent is None else f"{type(parent).__module__}.{type(parent).__qualname__}"


def _windows() -> list[Any]:
    if not _has_windows():
        return []
    from qtpy.QtWidgets import QApplication

    return [
        window
        for window in QApplication.topLevelWidgets()
        if window.isVisible() and window.metaObject().className() not in KEPT_WINDOWS
    ]


def _name(window: Any) -> str:
    return f"{type(window).__module__}.{type(window).__qualname__} {window.windowTitle()!r}"


def _let_qt_work() -> None:
    if _has_windows():
        from qtpy.QtCore import QEvent
        from qtpy.QtWidgets import QApplication

        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

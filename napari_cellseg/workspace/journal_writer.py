"""The thread that writes journals, so that no command waits for the disk."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO

__all__ = ["JournalWriter"]

SYNC_S = 1.0
"""Interval between two fsyncs. A killed viewer loses nothing that was written; a power cut loses at most this time."""

log = logging.getLogger(__name__)


class JournalWriter:
    """Appends to journals in one thread: calls return immediately, and records are serialised in that thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._files: dict[Path, _Appender] = {}
        self._thread: threading.Thread | None = None
        self.problem = ""
        """Why journals cannot be written at the moment; empty if they can."""

    def append(self, path: Path, make: Callable[[], bytes]) -> None:
        """Append the return value of ``make()``, called in the thread, to a journal."""
        self._later(lambda: self._files.setdefault(path, _Appender(path)).add(make()))

    def remove(self, path: Path) -> None:
        """Remove a journal after all earlier requests."""
        self._later(lambda: self._files.pop(path, _Appender(path)).remove())

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all requests are on disk; False on a timeout, or if they cannot be written."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._later(self._sync)
        self._later(done.set)
        return done.wait(timeout_s) and not self.problem

    def close(self) -> None:
        """Write the remaining requests and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(30.0)

    def _later(self, work: Callable[[], object]) -> None:
        if self._thread is None:
            # A daemon: otherwise the interpreter waits for it before the finalizer of `Sessions` can close it.
            self._thread = threading.Thread(target=self._run, name="cellseg-journal", daemon=True)
            self._thread.start()
        self._queue.put(work)

    def _run(self) -> None:
        synced, dirty = time.monotonic(), False
        while True:
            due = max(0.0, synced + SYNC_S - time.monotonic()) if dirty else None
            try:
                work = self._queue.get(timeout=due)
            except Empty:
                work = self._sync
            if work is None:
                break
            self._try(work)
            self._try(self._write)
            dirty = True
            if work == self._sync or time.monotonic() - synced > SYNC_S:
                self._try(self._sync)
                dirty, synced = bool(self.problem), time.monotonic()
        self._try(self._sync)
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self) -> None:
        for file in self._files.values():
            file.write()

    def _sync(self) -> None:
        for file in self._files.values():
            file.sync()
        self.problem = ""  # all requests are on disk

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:  # a full disk or an unplugged share: the bytes are kept and written later
            problem = f"The journal cannot be written: {error.strerror or error}. Free some space."
            if problem != self.problem:
                log.warning(problem)
            self.problem = problem


class _Appender:
    """The open end of one journal; keeps bytes that could not be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._waiting = bytearray()
        self._unsynced = False

    def add(self, line: bytes) -> None:
        self._waiting += line

    def write(self) -> None:
        while self._waiting:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            written = self._file.write(self._waiting)  # a part only, on a disk that fills up
            del self._waiting[:written]
            self._unsynced = True

    def sync(self) -> None:
        self.write()
        if self._unsynced and self._file is not None:
            os.fsync(self._file.fileno())
            self._unsynced = False

    def remove(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

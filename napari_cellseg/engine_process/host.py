"""The engine process: runs core generators for a viewer, outside its window's process.

``python -m napari_cellseg.engine_process.host FOLDER`` reads requests from its standard input and answers on its
standard output; `EngineClient` starts it. It ends when the pipe closes, even during a run.
"""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

from napari_cellseg.engine_process.frames import read_message, write_message
from napari_cellseg.engine_process.messages import (
    Began,
    Event,
    Failed,
    Pause,
    Returned,
    Run,
    Stop,
    Stopped,
    to_cellseg_error,
)
from napari_cellseg.engine_process.tasks import TASKS, Target, TaskRunner
from napari_cellseg.errors import EngineError, is_out_of_memory
from napari_cellseg.events import Paused, Resumed

__all__ = ["serve"]

LAST_GRACE_S = 3.0
"""Time for a run to clean up after the viewer has ended, s."""


class _Host:
    def __init__(self, tasks: Mapping[str, Target], requests: io.FileIO, answers: io.FileIO, exchange: Path) -> None:
        self._tasks = TaskRunner(tasks)
        self._requests = requests
        self._answers = answers
        self._exchange = exchange
        self._runs: queue.Queue[Run | None] = queue.Queue()
        self._sent = 0
        # Written by the listening thread; read by the working thread, which waits for a change while paused.
        self._changed = threading.Condition()
        self._stopped_run = self._held_run = 0
        self._viewer_is_gone = False

    def listen(self) -> None:
        """Receive requests, in a separate thread, until the pipe closes; then end the process."""
        try:
            while True:
                message = read_message(self._requests, self._exchange)
                if isinstance(message, Run):
                    self._runs.put(message)
                    continue
                with self._changed:
                    if isinstance(message, Stop):
                        self._stopped_run = message.run_id
                    else:
                        self._held_run = message.run_id if isinstance(message, Pause) else 0
                    self._changed.notify()
        finally:  # at the end of the pipe, and if a request cannot be read
            with self._changed:
                self._viewer_is_gone = True
                self._changed.notify()
            self._runs.put(None)
            # The main thread may be in native code for minutes; this thread ends the process nevertheless.
            time.sleep(LAST_GRACE_S)
            self.exit(1)

    def exit(self, status: int) -> NoReturn:
        """End the process without the interpreter's teardown, where threads of native libraries may hang or crash."""
        shutil.rmtree(self._exchange, ignore_errors=True)
        sys.stderr.flush()
        os._exit(status)

    def work(self) -> None:
        """Run the requested tasks one by one in the main thread."""
        while (run := self._runs.get()) is not None:
            try:
                self._send(self._run(run))
            except OSError:  # the viewer has ended
                return

    def _run(self, run: Run) -> Returned | Failed | Stopped:
        _give_way_as_session()  # again for each run: the client restores the priority at a stop
        try:
            generator = self._tasks.run(run.task, **run.arguments)
            return self._drive(run.run_id, generator)
        except BaseException as error:  # noqa: BLE001 - the viewer must get any error, and the host must survive it
            return _failed(run.run_id, error)

    def _drive(self, run_id: int, generator: Generator[Any, None, Any]) -> Returned | Stopped:
        try:
            self._send(Began(run_id))
            while not self._is_stopped(run_id):
                if self._held_run == run_id:
                    self._hold(run_id)
                    continue
                try:
                    event = next(generator)
                except StopIteration as end:
                    return Returned(run_id, end.value)
                self._send(Event(run_id, event))
        finally:
            generator.close()
        return Stopped(run_id)

    def _is_stopped(self, run_id: int) -> bool:
        return run_id <= self._stopped_run or self._viewer_is_gone

    def _hold(self, run_id: int) -> None:
        """Wait, without using the processor, until the run is resumed or stopped."""
        self._send(Event(run_id, Paused()))
        with self._changed:
            self._changed.wait_for(lambda: self._held_run != run_id or self._is_stopped(run_id))
        self._send(Event(run_id, Resumed()))

    def _send(self, message: object) -> None:
        self._sent += 1
        write_message(self._answers, message, self._exchange, self._sent)


def _failed(run_id: int, error: BaseException) -> Failed:
    named = to_cellseg_error(error)
    try:
        pickle.loads(pickle.dumps(named))
    except Exception:  # noqa: BLE001 - an exception may hold, or need, anything; its text always travels
        plain = EngineError(str(named))
        plain.details = named.details
        named = plain
    return Failed(run_id, named, is_spent=any(map(is_out_of_memory, _chain(error))))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all its causes."""
    while error is not None:
        yield error
        error = error.__cause__


def _give_way() -> None:
    """Lower the priority so that the window gets the processor first, without leaving a core idle."""
    if sys.platform == "win32":
        priority = psutil.BELOW_NORMAL_PRIORITY_CLASS
    else:
        priority = 5
    with suppress(psutil.Error, OSError):
        psutil.Process().nice(priority)


def _give_way_as_session() -> None:
    """Lower the priority of this process's session, among which Linux shares the processor first."""
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text("5")


def serve(tasks: Mapping[str, Target], exchange: Path) -> None:
    """Answer requests until the viewer closes the pipe."""
    faulthandler.enable()  # a crash in native code leaves its stack in the log
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal of napari is for napari
    _give_way()
    requests = io.FileIO(os.dup(0), "rb")
    answers = io.FileIO(os.dup(1), "wb")
    # Output printed from Python or C must not get into the answers.
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdout = sys.stderr
    host = _Host(tasks, requests, answers, exchange)
    threading.Thread(target=host.listen, name="requests", daemon=True).start()
    host.work()
    host.exit(0)


if __name__ == "__main__":
    serve(TASKS, Path(sys.argv[1]))

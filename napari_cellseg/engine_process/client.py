"""`EngineClient`: the engine process as seen from the viewer, through the generators that it runs."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_cellseg.engine_process.frames import (
    make_exchange_folder,
    read_message,
    remove_abandoned_folders,
    write_message,
)
from napari_cellseg.engine_process.messages import Began, Event, Failed, Pause, Resume, Returned, Run, Stop, Stopped
from napari_cellseg.engine_process.pausing import TICK_S
from napari_cellseg.engine_process.tasks import TASKS, Target
from napari_cellseg.engine_process.turns import wait_for_turn
from napari_cellseg.errors import EngineError

__all__ = ["EngineClient"]

_LOG = logging.getLogger(__name__)

HOST = (sys.executable, "-m", "napari_cellseg.engine_process.host")

_NOT_BEGUN_S = 0.1
"""How long a stop waits, s, for a run whose imports the engine still loads; the run ends when they are loaded."""

_QUEUE_SIZE = 64
"""Messages read ahead before the engine has to wait, so that memory stays bounded."""


class EngineClient:
    """One engine process: started when first needed, warm between runs, replaced after it died or was killed.

    It runs one task at a time; to train and predict simultaneously, make two clients.

    Parameters
    ----------
    tasks : mapping of name to Target
        What may be asked for, with the time each gets to clean up.
    host : sequence of str
        The command that starts the process; the exchange folder is added to it.
    hold : threading.Event, optional
        While set, the run waits at its next event without using the processor.
    variables : mapping of str to str, optional
        Environment variables of the process, in addition to those of this process.
    """

    def __init__(
        self,
        tasks: Mapping[str, Target] = TASKS,
        host: Sequence[str] = HOST,
        hold: threading.Event | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._tasks = tasks
        self.variables = variables
        self._host = tuple(host)
        self.hold = hold or threading.Event()
        self._process: _Process | None = None
        self._run_ids = itertools.count(1)
        self._running = threading.Lock()

    @property
    def process_id(self) -> int | None:
        """Id of the process; None if none is alive."""
        return self._process.id if self._process is not None and self._process.is_alive() else None

    def run(self, task: str, /, **arguments: Any) -> Generator[Any, None, Any]:
        """Run a task of the table; yields its events and returns its result.

        Without an event, it yields None about 20 times per second, so that the caller can close it. Closing it closes
        the generator in the engine; if that takes longer than the task's grace time, the process is killed. While
        ``hold`` is set, the run waits in the engine: the generator yields `Paused`, and later `Resumed`.

        Raises
        ------
        CellSegError
            As the task raised it, with the engine's traceback as ``details``; `EngineError` for any other exception,
            when the process died, and when another run does not end.
        """
        yield from wait_for_turn(self._running)
        try:
            run = Run(next(self._run_ids), task, arguments)
            return (yield from _Exchange(self._started(), run, self._tasks[task], self.hold).events())
        finally:
            self._running.release()

    def warm_up(self) -> None:
        """Start the process and import what a prediction needs, so that the first prediction starts immediately."""
        if self._running.acquire(blocking=False):
            try:
                self._started().send(Run(next(self._run_ids), "warm_up", {}))
            except _ProcessDied:
                _LOG.info("the engine process ended during its start; the next run starts another process")
            finally:
                self._running.release()

    def _started(self) -> _Process:
        if self._process is None or not self._process.is_alive():
            self.shutdown()
            self._process = _Process(self._host, self.variables)
        return self._process

    def shutdown(self, wait_s: float = 0.5) -> None:
        """End the process, if there is one; kill it if that takes longer than ``wait_s``."""
        process, self._process = self._process, None
        if process is not None:
            process.close(wait_s)


class _Exchange:
    """One run in a process, which is idle or dead afterwards."""

    def __init__(self, process: _Process, run: Run, task: Target, hold: threading.Event) -> None:
        self._process = process
        self._run = run
        self._task = task
        self._hold = hold
        self._is_held = False
        self._has_begun = False

    def events(self) -> Generator[Any, None, Any]:
        """Send the request, yield the events and return the result; stop the run when closed."""
        process, is_over = self._process, False
        try:
            process.send(self._run)
            while True:
                self._pass_hold_on()
                try:
                    answer = process.receive(self._run.run_id, TICK_S)
                except queue.Empty:
                    yield None
                    continue
                if isinstance(answer, Event):
                    yield answer.event
                elif isinstance(answer, Began):
                    self._has_begun = True
                else:
                    is_over = True
                    if isinstance(answer, Failed):
                        if answer.is_spent:
                            process.kill()
                        raise answer.error
                    return answer.result if isinstance(answer, Returned) else None
        except _ProcessDied:
            is_over = True
            raise process.obituary(self._task.after_death) from None
        finally:
            if not is_over and not self._stop():
                _LOG.info(
                    "the engine process is killed: it did not stop %s in %.1f s", self._run.task, self._task.grace_s
                )
                process.kill()

    def _pass_hold_on(self) -> None:
        if self._hold.is_set() is not self._is_held:
            self._is_held = not self._is_held
            self._process.send((Pause if self._is_held else Resume)(self._run.run_id))

    def _stop(self) -> bool:
        """Request a stop; return whether the run ended in time, or will end before it has done anything."""
        begin = time.monotonic()
        self._process.hurry()
        try:
            self._process.send(Stop(self._run.run_id))
            while True:
                grace_s = self._task.grace_s if self._has_begun else _NOT_BEGUN_S
                if (left := begin + grace_s - time.monotonic()) <= 0:
                    return not self._has_begun
                try:
                    answer = self._process.receive(self._run.run_id, left)
                except queue.Empty:
                    continue
                if isinstance(answer, Stopped | Returned | Failed):
                    return True
                self._has_begun = True
        except _ProcessDied:
            return False


_Answer = Began | Event | Returned | Failed | Stopped
_Answers = queue.Queue[_Answer | None]


class _ProcessDied(Exception):
    """The other side closed the pipe."""


class _Process:
    """A running host, its pipes, and the files to clean up after it."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        remove_abandoned_folders()
        self._exchange = make_exchange_folder()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close(), or with the process
        self._popen = subprocess.Popen(
            [*command, str(self._exchange)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            env=_environment() | dict(variables),
            # A separate process group: Ctrl-C in the terminal is for the viewer, and a kill reaches the children too.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._received: _Answers = queue.Queue(_QUEUE_SIZE)
        self._sent = itertools.count()
        reading = (self._popen.stdout, self._exchange, self._received)  # not self, which could never be collected then
        self._reader = threading.Thread(target=_read, args=reading, name="engine answers", daemon=True)
        self._reader.start()
        # Also without a call of `close`: at garbage collection and at the exit of the interpreter.
        self._clean_up = weakref.finalize(self, _end, self._popen, self._exchange)

    @property
    def id(self) -> int:
        return self._popen.pid

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def send(self, message: object) -> None:
        assert isinstance(self._popen.stdin, io.FileIO)  # bufsize=0
        try:
            write_message(self._popen.stdin, message, self._exchange, next(self._sent))
        except (OSError, ValueError) as error:  # ValueError: the pipe was closed on this side
            raise _ProcessDied from error

    def receive(self, run_id: int, timeout_s: float) -> _Answer:
        """Return the next message of a run; raise `queue.Empty` on a timeout, `_ProcessDied` if the process is dead."""
        message = self._received.get(timeout=timeout_s)
        if message is None:
            raise _ProcessDied
        if message.run_id != run_id:  # of an earlier run: the warm-up, or a run that was stopped before it started
            raise queue.Empty
        return message

    def obituary(self, advice: str) -> EngineError:
        """Wait for the end of a process whose pipe broke, and return how it died and what to do."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(1.0)
        code = self._popen.returncode
        self.kill()
        error = EngineError(f"{_cause_of_death(code)} {advice}")
        error.details = self._last_words()
        return error

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 16_384))
        return self._log.read().decode("utf-8", "replace").strip() or "The engine process left no message."

    def close(self, wait_s: float) -> None:
        """End the process by closing its pipe, or kill it."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(wait_s)
        self.kill()
        self._log.close()

    def hurry(self) -> None:
        """Restore the full priority of the process, so that it stops soon even on a busy machine."""
        if sys.platform == "linux" and self.is_alive():
            with contextlib.suppress(OSError):
                Path(f"/proc/{self.id}/autogroup").write_text("0")

    def kill(self) -> None:
        """Kill the process and its children, and remove their files."""
        self.hurry()
        self._clean_up()
        # The reader may wait for room in the queue, which no one empties any more.
        while self._reader.is_alive():
            with contextlib.suppress(queue.Empty):
                self._received.get_nowait()
            self._reader.join(0.01)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()


def _read(pipe: io.FileIO, exchange: Path, received: _Answers) -> None:
    with contextlib.suppress(EOFError, OSError, ValueError):  # ValueError: the pipe was closed on this side
        while True:
            received.put(read_message(pipe, exchange))
    received.put(None)


def _end(popen: subprocess.Popen[bytes], exchange: Path) -> None:
    if popen.poll() is None:  # otherwise another process may already have its id
        if os.name == "posix":
            os.killpg(popen.pid, signal.SIGKILL)
        else:
            popen.kill()
    popen.wait()
    shutil.rmtree(exchange, ignore_errors=True)


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            if name == "SIGKILL":
                return (
                    "The engine process was killed from outside (SIGKILL), usually by the system because memory ran "
                    "out. Close other programs, or choose a smaller tile or crop."
                )
            return f"The engine process crashed ({name}). If this happens again, choose the CPU as the device."
    return f"The engine process ended unexpectedly (exit code {code}). Its last messages are under Details."


def _environment() -> dict[str, str]:
    """Return the environment of the engine, in which this program can be imported and no window opens."""
    environment = dict(os.environ)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_API", "QT_PLUGIN_PATH", "QT_QPA_PLATFORM"):
        environment.pop(name, None)
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [package_parent, environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    environment["PYTHONSAFEPATH"] = "1"  # never import, say, a random.py from the folder in which napari was started
    environment["MPLBACKEND"] = "Agg"
    cores = os.cpu_count() or 1
    if cores > 2:  # of two cores, one would halve the speed; there the engine's low priority must do
        environment.setdefault("OMP_NUM_THREADS", str(cores - 1))
    return environment

"""`EnginePool`: lends engine processes to users, and ends those that are not needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType
from typing import Any

from napari_cellseg.engine_process.client import EngineClient
from napari_cellseg.engine_process.turns import wait_for_turn
from napari_cellseg.errors import EngineError

__all__ = ["IDLE_S", "EnginePool", "EngineUser"]

IDLE_S = 300.0
"""How long the idle engine is kept, s: it uses about 0.6 GB, and starting another one takes some seconds."""

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class EnginePool:
    """The engine processes of one viewer: one for consecutive tasks, more only while tasks overlap.

    At most one engine is idle: a second one ends after its task, the idle one after ``idle_s``. All methods may be
    called from any thread.

    Parameters
    ----------
    make : callable
        Makes a client from the environment variables of its process.
    idle_s : float
        How long the idle engine is kept, s.
    """

    def __init__(self, make: Callable[[Mapping[str, str]], EngineClient] | None = None, idle_s: float = IDLE_S) -> None:
        self._make = make or (lambda variables: EngineClient(variables=variables))
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._lent: list[EngineClient] = []
        self._idle: EngineClient | None = None
        self._idle_until = 0.0
        self._watch: threading.Thread | None = None
        self._is_closed = False

    @property
    def process_ids(self) -> list[int]:
        """Ids of the living processes."""
        with self._changed:
            clients = [*self._lent, *([] if self._idle is None else [self._idle])]
        return [process_id for client in clients if (process_id := client.process_id) is not None]

    def lend(self, variables: Mapping[str, str] = _NO_VARIABLES) -> EngineClient:
        """Return the idle engine or a new one; the caller must give it back.

        Raises
        ------
        EngineError
            The pool was shut down.
        """
        with self._changed:
            if self._is_closed:
                raise EngineError("The viewer is closing, so no more tasks can start.")
            client, self._idle = self._idle, None
            usable = client is not None and dict(client.variables) == dict(variables)
            lent = client if client is not None and usable else self._make(variables)
            self._lent.append(lent)
            self._changed.notify_all()
        if client is not None and not usable:
            client.shutdown(0.0)
        return lent

    def give_back(self, client: EngineClient) -> None:
        """Take an engine back; keep it if no other one is idle, else end its process."""
        with self._changed:
            if client in self._lent:
                self._lent.remove(client)
            keep = not self._is_closed and self._idle is None and client.process_id is not None
            if keep:
                self._idle, self._idle_until = client, time.monotonic() + self._idle_s
                if self._watch is None:
                    self._watch = threading.Thread(target=self._end_when_due, name="idle engine", daemon=True)
                    self._watch.start()
            self._changed.notify_all()
        if not keep:
            client.shutdown(0.0)

    def warm_up(self, variables: Mapping[str, str] = _NO_VARIABLES) -> None:
        """Start an engine unless one is alive."""
        if not self.process_ids:
            client = self.lend(variables)
            try:
                client.warm_up()
            finally:
                self.give_back(client)

    def shutdown(self, wait_s: float = 0.5) -> None:
        """End all processes and the pool's thread; no engine is lent any more."""
        with self._changed:
            self._is_closed = True
            clients = [*self._lent, *([] if self._idle is None else [self._idle])]
            self._idle, watch = None, self._watch
            self._changed.notify_all()
        if watch is not None:
            watch.join(wait_s + 5.0)
        for client in clients:
            client.shutdown(wait_s)

    def _end_when_due(self) -> None:
        """Wait, in a thread, and end the idle engine unless it is lent within its time."""
        while True:
            with self._changed:
                client = self._idle
                left_s = self._idle_until - time.monotonic()
                if client is None:
                    self._watch = None
                    return
                if left_s > 0:
                    self._changed.wait(left_s)
                    continue
                self._idle = None
            client.shutdown(0.0)


class EngineUser:
    """A user of the pool that runs one task at a time; tasks of two users run simultaneously.

    Parameters
    ----------
    pool : EnginePool

    Attributes
    ----------
    hold : threading.Event
        While set, the run waits at its next event.
    """

    def __init__(self, pool: EnginePool) -> None:
        self.hold = threading.Event()
        self._pool = pool
        self._turn = threading.Lock()
        self._client: EngineClient | None = None

    @property
    def process_id(self) -> int | None:
        """Id of the process that ran the last task; None if it has ended."""
        return None if self._client is None else self._client.process_id

    def run(
        self, task: str, arguments: Mapping[str, Any], variables: Mapping[str, str] = _NO_VARIABLES
    ) -> Generator[Any, None, Any]:
        """Run a task as `EngineClient.run` does, after the previous task has ended.

        Raises
        ------
        CellSegError
            As the task raises it; `EngineError` if the process died, or the previous run does not end.
        """
        yield from wait_for_turn(self._turn)
        try:
            client = self._client = self._pool.lend(variables)
            client.hold = self.hold
            try:
                return (yield from client.run(task, **arguments))
            finally:
                self._pool.give_back(client)
        finally:
            self._turn.release()

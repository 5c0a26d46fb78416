"""Waits for the end of the previous run, as a generator that can be closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

from napari_cellseg.engine_process.pausing import TICK_S
from napari_cellseg.errors import EngineError

__all__ = ["BUSY_S", "wait_for_turn"]

BUSY_S = 15.0
"""How long a run waits for the previous run, which may be cleaning up, s."""


def wait_for_turn(turn: threading.Lock) -> Generator[None, None, None]:
    """Acquire a lock; yield None about 20 times per second while waiting.

    Raises
    ------
    EngineError
        The previous run does not end.
    """
    deadline = time.monotonic() + BUSY_S
    while not turn.acquire(timeout=TICK_S):
        if time.monotonic() > deadline:
            raise EngineError("The engine is running another task. Stop that task or wait for it, then try again.")
        yield None

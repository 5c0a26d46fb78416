"""Pausing a generator that runs in this process, with the same events as one in the engine process."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any

from napari_cellseg.events import Paused, Resumed

__all__ = ["TICK_S", "pausable"]

TICK_S = 0.05
"""Interval at which a paused run yields, s."""


def pausable(generator: Generator[Any, None, Any], hold: threading.Event) -> Generator[Any, None, Any]:
    """Yield and return the values of a generator, but pause it between two events while ``hold`` is set.

    A paused run yields `Paused`, then None 20 times per second so that it can be closed, and finally `Resumed`.
    Closing it closes the generator.
    """
    try:
        while True:
            if hold.is_set():
                yield Paused()
                while hold.is_set():
                    time.sleep(TICK_S)
                    yield None
                yield Resumed()
            try:
                event = next(generator)
            except StopIteration as end:
                return end.value
            yield event
    finally:
        generator.close()

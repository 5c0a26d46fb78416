"""Pausing a generator that runs in this process, with the same events as one in the engine process."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any

from napari_cellseg.events import Paused, Resumed

__all__ = ["TICK_S", "pausable"]

TICK_S = 0.05
"""How often work that has nothing to say hands back control, s."""


def pausable(generator: Generator[Any, None, Any], hold: threading.Event) -> Generator[Any, None, Any]:
    """Yield and return what a generator does, but hold it between two of its events while ``hold`` is set.

    Then it yields `Paused`, None 20 times a second so that it can be closed, and at last `Resumed`. Closing it closes
    the generator.
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

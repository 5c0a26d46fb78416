"""What napari loads or computes with its first layer, done before in a thread: a second of a still window."""

from __future__ import annotations

import importlib
import logging
import threading
from functools import cache

__all__ = ["warm_up"]

log = logging.getLogger(__name__)


@cache
def warm_up() -> threading.Thread:
    """Begin, once a program; returns the thread."""
    import pint

    # The registry of units is filled when it is first asked, 0.4 s, and two threads must not do so together.
    _ = pint.get_application_registry().pixel  # type: ignore[no-untyped-call]
    thread = threading.Thread(target=_load, name="cellseg-warm-up", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    try:
        importlib.import_module("pandas")  # features of layers
        importlib.import_module("skimage.color.colorconv")  # colours of labels; with it scipy.linalg
        from vispy.visuals.line.dash_atlas import DashAtlas

        DashAtlas()  # the polygon tool of labels
    except (ImportError, AttributeError) as error:  # another version of these; then the first layer takes longer
        log.info("not warmed up: %s", error)

"""No Qt object that lives is left to Python's garbage collector.

The collector runs in the middle of anything, also while Qt delivers an event to the object: napari has an event filter
in Python for all events of the program, and a receiver that is collected on its way there is a segmentation fault.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.widgets.workflow import dock_of

pytestmark = pytest.mark.gui

DOCKS = ("Open", "Segment", "Review", "Train", "Export", "Batch", "Models", "Gallery", "Table")


def open_docks(window: Any) -> list[Any]:
    opened = [window.viewer.window.add_plugin_dock_widget("napari-cellseg", name)[1] for name in DOCKS]
    for _ in range(5):
        QApplication.processEvents()
    return [dock_of(widget) for widget in opened]


def delete_what_is_to_be_deleted() -> None:
    for _ in range(3):
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@contextmanager
def garbage_kept() -> Iterator[list[Any]]:
    """Collect nothing while this is open but what the block asks for, and keep that in the list."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()


def living(things: list[Any]) -> Counter[str]:
    """Count the Qt objects without a parent that exist, by their class: Python would delete them."""
    kinds: Counter[str] = Counter()
    for thing in things:
        if isinstance(thing, QObject):
            try:
                is_free = thing.parent() is None
            except RuntimeError:  # Qt has deleted it
                continue
            if is_free:
                kinds[f"{type(thing).__module__}.{type(thing).__name__}"] += 1
    return kinds


def widgets() -> Counter[str]:
    return Counter(widget.metaObject().className() for widget in QApplication.allWidgets())


def test_docks_that_were_closed_leave_no_living_object_to_the_collector(window):
    delete_what_is_to_be_deleted()
    with garbage_kept() as garbage:
        for dock in open_docks(window):
            dock.destroyOnClose()
        del dock
        delete_what_is_to_be_deleted()
        gc.collect()
        assert living(garbage) == Counter()


def test_a_dock_that_is_being_closed_is_deleted_by_qt_and_not_by_the_collector(window):
    delete_what_is_to_be_deleted()
    gc.collect()
    before = widgets()
    docks = open_docks(window)
    kinds = {dock.widget().metaObject().className() for dock in docks}
    while docks:
        docks.pop().destroyOnClose()
    gc.collect()
    assert {kind for kind in kinds if widgets()[kind] == before[kind] + 1} == kinds

    delete_what_is_to_be_deleted()
    assert {kind for kind in kinds if widgets()[kind] == before[kind]} == kinds

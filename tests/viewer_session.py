"""A real viewer in use, in a separate process: ``python viewer_session.py edit|reopen FOLDER``; says what it does.

``edit`` decides and paints until it is killed; ``reopen`` brings back what was not saved and prints what it is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from kill_worker import checksum
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_cellseg.gui.opening import opening
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.widgets.questions import Answer


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


def say(**facts: Any) -> None:
    sys.stdout.write(f"SAYS {json.dumps(facts)}\n")
    sys.stdout.flush()


class Person:
    """Presses keys and paints on the canvas."""

    def __init__(self, folder: Path) -> None:
        self.viewer = napari.Viewer()
        self.plugin = plugin_of(self.viewer)
        self.state = self.plugin.state
        self.layers, self.review = self.plugin.layers, self.plugin.review
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        self.plugin.opener.open_path(folder)
        wait(lambda: self.state.session is not None)
        self.layers.finish()
        self.review.queue.begin()
        self.review.queue.finish()

    def work(self) -> None:
        rng = np.random.default_rng(0)
        session = self.state.session
        say(at=time.time(), state=checksum(session.cells))
        session._listeners.insert(0, lambda _: say(at=time.time(), state=checksum(session.cells)))
        keys = [(Qt.Key_A, Qt.NoModifier), (Qt.Key_R, Qt.NoModifier), (Qt.Key_2, Qt.NoModifier)]
        while True:
            if rng.random() < 0.2:
                self._paint(rng)
            elif rng.random() < 0.2:
                self._press(Qt.Key_Z, Qt.ControlModifier)
            else:
                self._press(Qt.Key_N, Qt.NoModifier)
                self._press(*keys[rng.integers(len(keys))])

    def _press(self, key: Any, modifier: Any) -> None:
        QTest.keyClick(self.canvas, key, modifier)
        wait(lambda: False, 0.01)

    def _paint(self, rng: np.random.Generator) -> None:
        self.review.draw_new()
        layer = self.viewer.layers.selection.active
        y, x = (int(value) for value in rng.integers(10, 80, 2))
        with layer.block_history():
            layer.paint((y, x), layer.selected_label)
            layer.paint((y, x + 4), layer.selected_label)
        layer.mode = "pan_zoom"
        wait(lambda: False, 0.01)


def main(what: str, folder: Path) -> None:
    offered = []

    def bring_back(_: object, recovery: Any) -> Answer:
        offered.append(recovery)
        return Answer.SAVE

    opening.ask_about_recovery = bring_back
    person = Person(folder)
    if what == "edit":
        person.work()
    (recovery,) = offered
    say(edits=recovery.edits, last_at=recovery.last_at, state=checksum(person.state.session.cells))
    person.viewer.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

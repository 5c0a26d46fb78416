"""``python -m napari_cellseg.gui.demo FOLDER --screenshot FILE [--stay]``: run the plugin in a real viewer.

Opens a folder of images in napari, runs *Segment* on each of them through the docks' own buttons, as a user would,
and takes a screenshot of the last one. ``napari-cellseg demo`` starts it in its own process.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtCore import QTimer

from napari_cellseg.atomic import export_write
from napari_cellseg.errors import ExportError
from napari_cellseg.gui.jobs import JobState
from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.segment.dock import SegmentDock
from napari_cellseg.gui.widgets.notify import show_info
from napari_cellseg.gui.widgets.workflow import show_dock
from napari_cellseg.model.bundled import bundled

__all__ = ["main"]

logger = logging.getLogger(__name__)

_POLL_MS = 50
_REDRAW_MS = 1500
"""A window on a virtual screen needs a moment until all changes are drawn."""


class _Demo:
    """Opens and segments each image in turn, driven by Qt timers, so that the window stays alive."""

    def __init__(self, viewer: Any, screenshot: Path, checkpoint: Path | None, *, stay: bool) -> None:
        self.viewer, self.screenshot, self.stay = viewer, screenshot, stay
        plugin = plugin_of(viewer)
        self.state, self.opener = plugin.state, plugin.opener
        self.failure = ""
        self.dock, self.segment = self._segment_dock()
        # Not the model chosen in the last session.
        self.state.set_model(checkpoint or bundled(), proposed=checkpoint is None)
        self.left: list[str] = []

    def _segment_dock(self) -> tuple[Any, SegmentDock]:
        """Open *Segment*, which opens the other docks."""
        dock, widget = self.viewer.window.add_plugin_dock_widget("napari-cellseg", "Segment")
        assert isinstance(widget, SegmentDock)  # the manifest requires it
        return dock, widget

    def start(self, folder: Path) -> None:
        self.opener.open_path(folder)
        self._when(lambda: self.state.session is not None, self._begin)

    def _begin(self) -> None:
        self.left = [file.image_id for file in self.state.images]
        self._next()

    def _next(self) -> None:
        if not self.left:
            QTimer.singleShot(_REDRAW_MS, self._finish)
            return
        image_id = self.left.pop(0)
        self.opener.show(image_id)
        self._when(lambda: self.state.image_id == image_id and self.segment.button.isEnabled(), self._run)

    def _run(self) -> None:
        self.segment.button.click()
        self._when(lambda: not self.segment.segmentation.job.is_busy, self._check)

    def _check(self) -> None:
        job = self.segment.segmentation.job
        if job.state is not JobState.FINISHED:
            self._fail(f"The demo could not segment {self.state.image_id}. See the message above.")
            return
        self.opener.save()
        self._next()

    def _finish(self) -> None:
        for layer in self.viewer.layers:
            if layer._type_string == "labels":
                layer.contour = 2
        self.dock.raise_()
        for notice in self.viewer.window._qt_window.findChildren(NapariQtNotification):
            notice.close()
        self.viewer.reset_view()
        QTimer.singleShot(_REDRAW_MS, self._photograph)

    def _photograph(self) -> None:
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        try:
            with export_write(self.screenshot) as file:
                file.write(imagecodecs.png_encode(np.ascontiguousarray(pixels)))  # Qt pads its rows
        except ExportError as error:
            self._fail(str(error))
            return
        if self.stay:
            show_dock(self.viewer, "Review")
            show_info(f"{self.state.image_id} is segmented. Press N for the first cell of the queue, A to accept it.")
        else:
            self.viewer.close()

    def _fail(self, text: str) -> None:
        self.failure = text
        if not self.stay:
            self.viewer.close()

    def _when(self, ready: Callable[[], bool], then: Callable[[], None]) -> None:
        """Call ``then`` when ``ready`` holds; stop if opening or segmenting failed."""
        if ready():
            then()
        elif JobState.FAILED in (self.opener.job.state, self.segment.segmentation.job.state):
            self._fail("The demo stopped. See the message above.")
        else:
            QTimer.singleShot(_POLL_MS, lambda: self._when(ready, then))


def main(arguments: list[str] | None = None) -> int:
    """Run the demo in a viewer; return 0, or 1 if an image could not be segmented."""
    parser = argparse.ArgumentParser(prog="python -m napari_cellseg.gui.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("--screenshot", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--checkpoint", type=Path, help="model file; the bundled model for H&E when left out")
    parser.add_argument("--stay", action="store_true", help="leave the viewer open")
    options = parser.parse_args(arguments)
    viewer = napari.Viewer(title="napari-cellseg demo")
    viewer.window.resize(1500, 950)
    demo = _Demo(viewer, options.screenshot, options.checkpoint, stay=options.stay)
    QTimer.singleShot(0, lambda: demo.start(options.folder))
    napari.run()
    if demo.failure:
        logger.error(demo.failure)
    return 1 if demo.failure else 0


if __name__ == "__main__":
    sys.exit(main())

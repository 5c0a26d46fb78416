"""A viewer whose window is never shown: closing it ends everything of the plugin, as closing a visible window does."""

from __future__ import annotations

import threading

import psutil
import pytest

from napari_cellseg.gui.jobs import Job
from napari_cellseg.gui.plugin import plugin_of

pytestmark = pytest.mark.gui


@pytest.mark.usefixtures("qapp")
def test_closing_a_viewer_without_a_visible_window_ends_threads_and_engine():
    import napari

    viewer = napari.Viewer(show=False)
    plugin = plugin_of(viewer)
    begun, ended = threading.Event(), threading.Event()

    def endless():
        begun.set()
        try:
            while True:
                yield None
        finally:
            ended.set()

    Job(plugin.state, "testing").start(endless)
    list(plugin.segmentation.engine.warm_up())
    engines = [process for process in psutil.Process().children() if "engine_process" in " ".join(process.cmdline())]
    assert begun.wait(30)
    assert engines
    viewer.close()
    assert plugin.state.is_closed
    assert ended.is_set()
    assert not any(process.is_running() for process in engines)

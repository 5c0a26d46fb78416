"""TensorBoard, started by the button in *Train*."""

from __future__ import annotations

import pytest
from napari.components import ViewerModel

from napari_cellseg.gui.plugin import plugin_of
from napari_cellseg.gui.train import tensorboard_server as server_module
from napari_cellseg.gui.train.tensorboard_server import TensorBoardServer, tensorboard_is_installed


@pytest.mark.slow
@pytest.mark.skipif(not tensorboard_is_installed(), reason="needs the package tensorboard")
def test_the_browser_opens_once_the_server_answers_and_it_ends_with_the_viewer(qtbot, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(server_module.QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    viewer = ViewerModel()
    server = TensorBoardServer(plugin_of(viewer).state)
    server.show(tmp_path)
    process = server._process
    qtbot.waitUntil(lambda: len(opened) == 1, timeout=120_000)
    assert opened[0].startswith("http://localhost:")
    server.show(tmp_path)
    assert opened[0] == opened[1], "a second click opens the same server"
    plugin_of(viewer).close()
    assert process.poll() is not None
